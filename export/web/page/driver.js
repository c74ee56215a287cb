// What moves the image: a video file or the camera, frame by frame.

export class Driver {
  #video;
  #onframe;
  #stream = null;
  #url = null;
  #isRunning = false;

  /**
   * @param {HTMLVideoElement} video shows the frames.
   * @param {(video: HTMLVideoElement) => Promise<void>} onframe called with one frame after the other; frames that
   *   arrive before it is done are skipped.
   */
  constructor(video, onframe) {
    this.#video = video;
    this.#onframe = onframe;
    this.onerror = () => {};
  }

  get isOpen() {
    return Boolean(this.#stream || this.#url);
  }

  get isCamera() {
    return Boolean(this.#stream);
  }

  get isPlaying() {
    return this.isOpen && !this.#video.paused;
  }

  async openFile(blob) {
    this.close();
    this.#url = URL.createObjectURL(blob);
    this.#video.src = this.#url;
    try {
      await this.#play();
    } catch {
      this.close();
      throw new Error(`${blob.name ?? "The file"} is not a video that this browser can play; try MP4 (H.264) or WebM.`);
    }
  }

  async openCamera() {
    if (!navigator.mediaDevices) throw new DOMException("", "SecurityError");
    const video = { facingMode: "user", width: { ideal: 640 }, height: { ideal: 480 } };
    const stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    this.close();
    this.#stream = stream;
    this.#video.srcObject = stream;
    await this.#play();
  }

  async toggle() {
    if (this.#video.paused) await this.#play();
    else this.#video.pause();
  }

  close() {
    this.#video.pause();
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#stream = this.#url = this.#video.srcObject = null;
    this.#video.removeAttribute("src");
  }

  async #play() {
    await this.#video.play();
    if (!this.#isRunning) this.#run();
  }

  async #run() {
    this.#isRunning = true;
    try {
      let arrived = this.#nextFrame();
      while (this.isPlaying) {
        await arrived;
        arrived = this.#nextFrame(); // it may arrive while this one is animated
        if (this.isPlaying) await this.#onframe(this.#video);
      }
    } catch (error) {
      this.#video.pause();
      this.onerror(error);
    } finally {
      this.#isRunning = false;
    }
  }

  /** Waits for a frame; at most 250 ms, since a paused video has no further one. */
  #nextFrame() {
    return new Promise((resolve) => {
      setTimeout(resolve, 250);
      if (this.#video.requestVideoFrameCallback) this.#video.requestVideoFrameCallback(resolve);
      else requestAnimationFrame(resolve);
    });
  }
}

/** What to do about an error of `openCamera`. */
export function describeCameraError(error) {
  const messages = {
    NotAllowedError: "The camera may not be used; allow it in the browser's settings of this page.",
    NotFoundError: "No camera was found; connect one, or choose a video.",
    NotReadableError: "The camera cannot be read; close other programs that use it.",
    SecurityError: "A browser lets pages use the camera only over https or on localhost; open this page that way.",
  };
  return messages[error.name] ?? `The camera cannot be used: ${error.message}`;
}
