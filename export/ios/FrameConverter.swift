import CoreGraphics
import Foundation

/// Converts between images of the model's size and float tensors `[1, height, width, 3]` in [0, 1].
final class FrameConverter {
  private let height: Int
  private let width: Int
  private let context: CGContext
  /// Four bytes per pixel, the fourth unused.
  private let bytes: UnsafeMutablePointer<UInt8>

  init(height: Int, width: Int) throws {
    guard let space = CGColorSpace(name: CGColorSpace.sRGB),
      let context = CGContext(
        data: nil, width: width, height: height, bitsPerComponent: 8, bytesPerRow: 4 * width, space: space,
        bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue),
      let data = context.data
    else { throw Fomm.Failure.noImage }
    context.interpolationQuality = .high
    context.setBlendMode(.copy)
    self.height = height
    self.width = width
    self.context = context
    bytes = data.assumingMemoryBound(to: UInt8.self)
  }

  func toTensor(_ image: CGImage) throws -> Data {
    guard image.width == width, image.height == height else {
      throw Fomm.Failure.size(width: image.width, height: image.height)
    }
    draw(image)
    var tensor = Data(count: 3 * width * height * MemoryLayout<Float32>.size)
    tensor.withUnsafeMutableBytes { raw in
      let floats = raw.bindMemory(to: Float32.self)
      for pixel in 0..<width * height {
        for channel in 0..<3 {
          floats[3 * pixel + channel] = Float32(bytes[4 * pixel + channel]) / 255
        }
      }
    }
    return tensor
  }

  func toImage(_ tensor: Data) throws -> CGImage {
    tensor.withUnsafeBytes { raw in
      let floats = raw.bindMemory(to: Float32.self)
      for pixel in 0..<width * height {
        for channel in 0..<3 {
          // In this order NaN gives a byte too.
          let value = max(0, min(255, floats[3 * pixel + channel] * 255 + 0.5))
          bytes[4 * pixel + channel] = UInt8(value)
        }
      }
    }
    return try makeImage()
  }

  /// The center of an image at the model's size.
  func fit(_ image: CGImage) throws -> CGImage {
    let scale = max(Double(height) / Double(image.height), Double(width) / Double(image.width))
    let cropHeight = min(image.height, max(1, Int((Double(height) / scale).rounded())))
    let cropWidth = min(image.width, max(1, Int((Double(width) / scale).rounded())))
    let center = CGRect(
      x: (image.width - cropWidth) / 2, y: (image.height - cropHeight) / 2, width: cropWidth, height: cropHeight)
    guard let cropped = image.cropping(to: center) else { throw Fomm.Failure.noImage }
    draw(cropped)
    return try makeImage()
  }

  private func draw(_ image: CGImage) {
    context.draw(image, in: CGRect(x: 0, y: 0, width: width, height: height))
  }

  private func makeImage() throws -> CGImage {
    guard let image = context.makeImage() else { throw Fomm.Failure.noImage }
    return image
  }
}
