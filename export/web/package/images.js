// Images of any kind to the pixels of a frame: the center is cropped to the frame's aspect ratio and resized.

let canvas;

/**
 * @param {CanvasImageSource | ImageData} image
 * @returns {Uint8ClampedArray} RGBA, transparent areas on white.
 */
export function cropped(image, width, height) {
  const size = sizeOf(image);
  if (!(size.width > 0 && size.height > 0)) throw new TypeError("image: it has no pixels; wait until it is loaded.");
  if (image instanceof ImageData) {
    if (size.width === width && size.height === height && isOpaque(image.data)) return image.data.slice();
    image = onCanvas(image);
  }
  canvas ??= document.createElement("canvas");
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  const scale = Math.max(width / size.width, height / size.height);
  const inner = { width: width / scale, height: height / scale };
  const left = (size.width - inner.width) / 2;
  const top = (size.height - inner.height) / 2;
  context.drawImage(image, left, top, inner.width, inner.height, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

function sizeOf(image) {
  if (image instanceof HTMLVideoElement) return { width: image.videoWidth, height: image.videoHeight };
  if (image instanceof HTMLImageElement) return { width: image.naturalWidth, height: image.naturalHeight };
  if ("displayWidth" in image) return { width: image.displayWidth, height: image.displayHeight };
  return { width: image.width, height: image.height };
}

function isOpaque(pixels) {
  for (let index = 3; index < pixels.length; index += 4) if (pixels[index] !== 255) return false;
  return true;
}

function onCanvas(image) {
  const drawn = document.createElement("canvas");
  drawn.width = image.width;
  drawn.height = image.height;
  drawn.getContext("2d").putImageData(image, 0, 0);
  return drawn;
}
