import Foundation
import TensorFlowLite

/// The interpreter of one stage.
final class StageRunner {
  private let stage: PipelineDescription.Stage
  private let runner: SignatureRunner

  /// - Parameters:
  ///   - path: the file.
  ///   - name: name of the stage, which is the name of the file's only signature too.
  ///   - gpu: whether to try the Metal delegate first.
  ///   - threads: CPU threads.
  init(path: String, name: String, stage: PipelineDescription.Stage, gpu: Bool, threads: Int) throws {
    self.stage = stage
    if gpu, let runner = StageRunner.onGPU(path, name) {
      self.runner = runner
      return
    }
    var options = Interpreter.Options()
    options.threadCount = threads
    options.isXNNPackEnabled = true
    runner = try Interpreter(modelPath: path, options: options).signatureRunner(with: name)
  }

  /// Runs the stage; takes its inputs from `tensors` by name and returns its outputs.
  func run(_ tensors: [String: Data]) throws -> [String: Data] {
    try runner.invoke(with: tensors.filter { stage.inputs[$0.key] != nil })
    var outputs: [String: Data] = [:]
    for name in stage.outputs.keys { outputs[name] = try runner.output(named: name).data }
    return outputs
  }

  private static func onGPU(_ path: String, _ name: String) -> SignatureRunner? {
    var options = MetalDelegate.Options()
    // Half precision moves keypoints.
    options.isPrecisionLossAllowed = name != "detector"
    let delegates: [Delegate] = [MetalDelegate(options: options)]
    return try? Interpreter(modelPath: path, delegates: delegates).signatureRunner(with: name)
  }
}
