import Foundation

/// What `pipeline.json` says about the exported files: frame size, stages, tensors and variants.
public struct PipelineDescription: Decodable {
  /// A dense tensor, the last axis fastest; a size that is open in the file counts as 1.
  public struct Tensor: Decodable {
    let shape: [Int?]
    let dtype: String

    var byteCount: Int { return shape.reduce(dtype == "bool" ? 1 : 4) { $0 * ($1 ?? 1) } }
  }

  /// Inputs and outputs of one file, by name.
  public struct Stage: Decodable {
    let inputs: [String: Tensor]
    let outputs: [String: Tensor]

    private enum CodingKeys: String, CodingKey {
      case inputs = "inputs"
      case outputs = "outputs"
    }
  }

  /// The settings that the model was trained for.
  public struct Settings: Decodable {
    let mode: String
    let adaptScale: Bool

    private enum CodingKeys: String, CodingKey {
      case mode = "mode"
      case adaptScale = "adapt_scale"
    }
  }

  public enum InvalidDescription: Error {
    /// The files take several driving frames per call; export again with `--batch 1`.
    case batch(Int)
    case missingStage(String)
  }

  public let name: String
  private let frameSize: [Int]
  let settings: Settings
  /// Stages in the order in which they run, once per source image and once per driving frame.
  let sourceStages: [String]
  let frameStages: [String]
  /// Stages that consist of convolutions; the others gather, which GPU delegates refuse.
  private let convolutionStages: [String]
  let stages: [String: Stage]
  /// Variant to stage name to file name.
  public let variants: [String: [String: String]]
  /// Variant to stage name to what its weights and activations are stored as.
  private let quantization: [String: [String: String]]

  private enum CodingKeys: String, CodingKey {
    case name = "name"
    case frameSize = "frame_size"
    case settings = "animate"
    case sourceStages = "source_stages"
    case frameStages = "frame_stages"
    case convolutionStages = "convolution_stages"
    case stages = "stages"
    case variants = "variants"
    case quantization = "quantization"
  }

  public init(contentsOf file: URL) throws {
    self = try JSONDecoder().decode(PipelineDescription.self, from: Data(contentsOf: file))
    guard let frame = stages["detector"]?.inputs["frame"] else {
      throw InvalidDescription.missingStage("detector")
    }
    if let batch = frame.shape[0], batch != 1 { throw InvalidDescription.batch(batch) }
  }

  public var height: Int { return frameSize[0] }
  public var width: Int { return frameSize[1] }
  var relative: Bool { return settings.mode == "relative" }

  func stage(_ name: String) throws -> Stage {
    guard let stage = stages[name] else { throw InvalidDescription.missingStage(name) }
    return stage
  }

  /// Stages of a variant whose files a GPU delegate accepts: float convolutions.
  func gpuStages(_ variant: String) -> Set<String> {
    let kinds = quantization[variant] ?? [:]
    return Set(convolutionStages.filter { kinds[$0] == "float32" || kinds[$0] == "float16" })
  }

  /// The fastest variant among the exported ones whose quality needs no review.
  func defaultVariant(gpu: Bool) -> String {
    let preferred = gpu ? ["float16", "float32"] : ["dynamic", "float32"]
    return preferred.first { variants[$0] != nil } ?? variants.keys.sorted()[0]
  }
}
