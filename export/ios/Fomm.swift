import CoreGraphics
import Foundation
import Metal

/// Animates a source image with the motion of driving frames. Call it from one thread at a time, not the main thread.
public final class Fomm {
  public enum Failure: Error {
    /// The image does not have the model's size; resize it with `fit`.
    case size(width: Int, height: Int)
    case noImage
    case noSource
    case noVariant(String)
  }

  /// Keypoints of one image: the outputs of the detector by name.
  public struct Keypoints {
    let tensors: [String: Data]

    func withPrefix(_ prefix: String) -> [String: Data] {
      return Dictionary(uniqueKeysWithValues: tensors.map { (prefix + $0.key, $0.value) })
    }
  }

  public let description: PipelineDescription
  /// Whether motion is transferred relative to the first frame of a clip.
  public var relative: Bool
  /// Whether relative motion is scaled by the sizes of the two objects.
  public var adaptScale: Bool

  private let detectorFrames: FrameConverter
  private let rendererFrames: FrameConverter
  private let fitFrames: FrameConverter
  private let detectorQueue = DispatchQueue(label: "fomm.detector")
  private let rendererQueue = DispatchQueue(label: "fomm.renderer")
  private var runners: [String: StageRunner] = [:]
  private var source: [String: Data] = [:]
  private var initialKeypoints: Keypoints?

  /// - Parameters:
  ///   - folder: where the files are, with `pipeline.json`.
  ///   - gpu: whether convolutions run on the GPU where its delegate accepts them.
  ///   - threads: CPU threads per stage.
  ///   - variant: which files; nil selects `PipelineDescription.defaultVariant`.
  public init(folder: URL, gpu: Bool = true, threads: Int = 4, variant: String? = nil) throws {
    description = try PipelineDescription(contentsOf: folder.appendingPathComponent("pipeline.json"))
    relative = description.relative
    adaptScale = description.settings.adaptScale
    detectorFrames = try FrameConverter(height: description.height, width: description.width)
    rendererFrames = try FrameConverter(height: description.height, width: description.width)
    fitFrames = try FrameConverter(height: description.height, width: description.width)
    let gpu = gpu && MTLCreateSystemDefaultDevice() != nil
    let variant = variant ?? description.defaultVariant(gpu: gpu)
    guard let files = description.variants[variant] else { throw Failure.noVariant(variant) }
    let gpuStages = gpu ? description.gpuStages(variant) : []
    for name in Set(description.sourceStages + description.frameStages) {
      guard let file = files[name] else { throw PipelineDescription.InvalidDescription.missingStage(name) }
      runners[name] = try StageRunner(
        path: folder.appendingPathComponent(file).path, name: name, stage: description.stage(name),
        gpu: gpuStages.contains(name), threads: threads)
    }
  }

  /// The center of an image at the model's size.
  public func fit(_ image: CGImage) throws -> CGImage {
    return try fitFrames.fit(image)
  }

  /// Sets the image to animate, of the model's size.
  public func encodeSource(_ image: CGImage) throws {
    let keypoints = try detect(image)
    source = try rendererQueue.sync {
      let inputs = ["source": try rendererFrames.toTensor(image)]
      let stages = description.sourceStages.filter { $0 != "detector" }
      return try run(stages, inputs).merging(keypoints.withPrefix("source_")) { $1 }
    }
  }

  /// Detects the keypoints of a frame of the model's size.
  public func detect(_ frame: CGImage) throws -> Keypoints {
    return try detectorQueue.sync { try runDetector(frame) }
  }

  /// Renders one frame; the switches default to `relative` and `adaptScale`.
  public func render(
    _ driving: Keypoints, initial: Keypoints, relative: Bool? = nil, adaptScale: Bool? = nil
  ) throws -> CGImage {
    return try rendererQueue.sync {
      var tensors = source
      tensors["relative"] = Data([relative ?? self.relative ? 1 : 0])
      tensors["adapt_scale"] = Data([adaptScale ?? self.adaptScale ? 1 : 0])
      tensors.merge(driving.withPrefix("driving_")) { $1 }
      tensors.merge(initial.withPrefix("initial_")) { $1 }
      let outputs = try run(description.frameStages.filter { $0 != "detector" }, tensors)
      guard let prediction = outputs["prediction"] else { throw Failure.noSource }
      return try rendererFrames.toImage(prediction)
    }
  }

  /// Animates one frame; the first frame after `reset` provides the initial keypoints.
  public func animate(_ frame: CGImage) throws -> CGImage {
    let driving = try detect(frame)
    return try render(driving, initial: initialOr(driving))
  }

  /// Animates a clip; detects the keypoints of the next frame while the current one is rendered.
  public func animate<Frames: Sequence>(_ frames: Frames, show: (CGImage) throws -> Void) throws
  where Frames.Element == CGImage {
    var iterator = frames.makeIterator()
    var next = iterator.next().map(detectLater)
    while let result = next {
      let driving = try result()
      next = iterator.next().map(detectLater)
      try show(render(driving, initial: initialOr(driving)))
    }
  }

  /// Starts a new clip: the next frame provides the initial keypoints.
  public func reset() {
    initialKeypoints = nil
  }

  private func runDetector(_ frame: CGImage) throws -> Keypoints {
    let inputs = ["frame": try detectorFrames.toTensor(frame)]
    guard let runner = runners["detector"] else {
      throw PipelineDescription.InvalidDescription.missingStage("detector")
    }
    return Keypoints(tensors: try runner.run(inputs))
  }

  /// Runs stages in order; returns all tensors.
  private func run(_ stages: [String], _ inputs: [String: Data]) throws -> [String: Data] {
    var tensors = inputs
    for name in stages {
      guard let runner = runners[name] else { throw PipelineDescription.InvalidDescription.missingStage(name) }
      tensors.merge(try runner.run(tensors)) { $1 }
    }
    return tensors
  }

  private func initialOr(_ driving: Keypoints) -> Keypoints {
    let initial = initialKeypoints ?? driving
    initialKeypoints = initial
    return initial
  }

  private func detectLater(_ frame: CGImage) -> () throws -> Keypoints {
    var result: Result<Keypoints, Error>?
    let work = DispatchWorkItem { result = Result { try self.runDetector(frame) } }
    detectorQueue.async(execute: work)
    return {
      work.wait()
      guard let result = result else { throw Failure.noImage }
      return try result.get()
    }
  }
}
