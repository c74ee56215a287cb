// Frames per second over the last frames.

const LENGTH = 20;

export class FrameRate {
  #times = [];

  /** Adds a frame at a time in milliseconds; returns the rate, 0 for the first frame. */
  add(time) {
    this.#times.push(time);
    if (this.#times.length > LENGTH) this.#times.shift();
    return this.#times.length > 1 ? (1000 * (this.#times.length - 1)) / (time - this.#times[0]) : 0;
  }

  clear() {
    this.#times = [];
  }
}
