// First Order Motion Model in the browser: see README.md and pipeline.d.ts.

import { cropped } from "./images.js";

export class Pipeline {
  #worker;
  #waiting = new Map();
  #last = 0;
  #source = null;
  #closed = null;
  #busy = Promise.resolve();

  static async load(url, options = {}) {
    const missing = missingFeatures();
    if (missing.length) throw new Error(`This browser lacks ${missing.join(", ")}; update it, or use another one.`);
    const cores = Math.min(navigator.hardwareConcurrency || 1, 4);
    const threads = options.threads ?? (self.crossOriginIsolated ? cores : 1);
    if (threads > 1 && !self.crossOriginIsolated) {
      throw new Error(`threads: got ${threads}; expected 1: the page is not cross-origin isolated, see README.md.`);
    }
    const pipeline = new Pipeline();
    pipeline.onprogress = options.onprogress;
    const { variant, build, accelerator } = options;
    const argument = { url: new URL(url, document.baseURI).href, options: { variant, build, accelerator, threads } };
    try {
      Object.assign(pipeline, await pipeline.#call("load", argument));
    } catch (error) {
      pipeline.close();
      throw error;
    }
    const [height, width] = pipeline.description.frame_size;
    const defaults = pipeline.description.animate;
    Object.assign(pipeline, { height, width });
    pipeline.defaults = { relative: defaults.mode === "relative", adaptScale: defaults.adapt_scale, smoothing: 0 };
    return pipeline;
  }

  constructor() {
    this.#worker = new Worker(new URL("./worker.js", import.meta.url));
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(new Error(`The worker failed: ${event.message || "worker.js cannot be loaded"}`));
    };
  }

  animate(source, frame, options = {}) {
    const chosen = { ...this.defaults, ...options };
    if (!(chosen.smoothing >= 0 && chosen.smoothing < 1)) {
      return Promise.reject(new RangeError(`smoothing: got ${chosen.smoothing}; expected at least 0 and below 1.`));
    }
    // The pixels are read now: a video shows another frame later.
    const pixels = cropped(frame, this.width, this.height);
    return this.#inTurn(async () => {
      if (source !== this.#source) {
        this.#source = null;
        await this.#call("encodeSource", { pixels: cropped(source, this.width, this.height) });
        this.#source = source;
      }
      const argument = { pixels, options: chosen };
      return new ImageData(await this.#call("animate", argument, [pixels.buffer]), this.width, this.height);
    });
  }

  recenter() {
    return this.#inTurn(() => this.#call("recenter"));
  }

  run(stage, tensors) {
    return this.#inTurn(() => this.#call("run", { stage, tensors }));
  }

  close() {
    this.#worker.terminate();
    this.#fail(new Error("The pipeline is closed."));
  }

  /** Runs one task after the other, in the order of the calls. */
  #inTurn(task) {
    const result = this.#busy.then(task);
    this.#busy = result.catch(() => {});
    return result;
  }

  #call(method, argument, transferred = []) {
    if (this.#closed) return Promise.reject(this.#closed);
    return new Promise((resolve, reject) => {
      const id = ++this.#last;
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, method, argument }, transferred);
    });
  }

  #receive({ id, result, error, progress }) {
    if (progress) {
      this.onprogress?.(progress);
      return;
    }
    const { resolve, reject } = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) resolve(result);
    else reject(new Error(error));
  }

  #fail(error) {
    this.#closed ??= error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

/** What this browser lacks, in words; empty if `Pipeline.load` can work. */
export function missingFeatures() {
  const features = {
    WebAssembly: typeof WebAssembly === "object",
    "web workers": typeof Worker === "function",
    "gzip decompression (DecompressionStream)": typeof DecompressionStream === "function",
  };
  return Object.keys(features).filter((name) => !features[name]);
}
