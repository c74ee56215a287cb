// Records a canvas to a video file.

const TYPES = ["video/mp4;codecs=avc1.42E01E", "video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm"];

export class Recorder {
  #recorder;

  static isSupported(canvas) {
    return typeof MediaRecorder === "function" && "captureStream" in canvas;
  }

  /**
   * Starts to record.
   *
   * @param {HTMLCanvasElement} canvas
   * @param {(blob: Blob, name: string) => void} onfinish called after `stop` with the file and a name for it.
   */
  constructor(canvas, onfinish) {
    const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
    const stream = canvas.captureStream();
    const parts = [];
    this.#recorder = new MediaRecorder(stream, { mimeType, videoBitsPerSecond: 4e6 });
    this.#recorder.ondataavailable = ({ data }) => parts.push(data);
    this.#recorder.onstop = () => {
      for (const track of stream.getTracks()) track.stop();
      const type = this.#recorder.mimeType.split(";")[0];
      onfinish(new Blob(parts, { type }), `animated.${type.split("/")[1]}`);
    };
    this.#recorder.start();
  }

  stop() {
    this.#recorder.stop();
  }
}
