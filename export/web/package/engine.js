// The stages of a model on LiteRT, in the order that pipeline.json describes. Runs in worker.js.

import { Tensor, getWebGpuDevice, loadAndCompile, loadLiteRt, supportsFeature } from "./runtime/litert.js";

// The builds of LiteRT in runtime/: with threads, without, and without relaxed SIMD (which Safari lacks).
const BUILDS = {
  threads: "litert_wasm_threaded_internal",
  simd: "litert_wasm_internal",
  compatible: "litert_wasm_compat_internal",
};

// Largest difference of a GPU's output from the CPU's, relative to the largest value where that is above 1.
const GPU_TOLERANCE = 1e-3;

/** Tensors are Float32Array by name; their shapes are in pipeline.json. */
export class Engine {
  /**
   * Downloads the runtime and the model.
   *
   * @param {string} url directory of pipeline.json.
   * @param {{variant?: string, threads: number, build?: string, accelerator?: string}} options
   * @param {(done: number, total: number) => void} report called while bytes arrive.
   */
  static async load(url, options, report) {
    const description = await (await download(new URL("pipeline.json", url))).json();
    const variant = options.variant ?? Object.keys(description.variants)[0];
    const files = description.variants[variant];
    if (!files) {
      const known = Object.keys(description.variants).join(", ");
      throw new Error(`variant: got "${variant}"; expected one of ${known}`);
    }
    const best = options.threads > 1 ? "threads" : "simd";
    const build = options.build ?? ((await supportsFeature("relaxedSimd")) ? best : "compatible");
    const threads = build === "threads" ? options.threads : 1;
    const progress = new Progress(report);
    const runtime = new URL(`runtime/${BUILDS[build]}`, import.meta.url);
    const stages = Object.keys(files);
    const [binary, ...models] = await Promise.all([
      progress.fetch(`${runtime}.wasm.gz`).then(unpack),
      ...stages.map((stage) => progress.fetch(new URL(files[stage], url))),
    ]);
    // LiteRT passes this object to its WebAssembly module. Its threads load the script again.
    self.Module = { wasmBinary: binary, mainScriptUrlOrBlob: `${runtime}.js`, printErr: log };
    await loadLiteRt(`${runtime}.js`);
    const engine = new Engine(description, { variant, build, threads, accelerators: {} });
    for (const [index, stage] of stages.entries()) {
      await engine.#compile(stage, new Uint8Array(models[index]), options.accelerator);
    }
    return engine;
  }

  constructor(description, info) {
    this.description = description;
    this.info = info;
    this.stages = {};
    this.encoded = null;
    this.recenter();
  }

  /** Runs one stage; tensors that are not its inputs are ignored. */
  async run(name, tensors) {
    const inputs = {};
    const { inputs: specs } = this.description.stages[name];
    try {
      for (const [key, { shape }] of Object.entries(specs)) {
        if (!tensors[key]) throw new Error(`${name} needs the input ${key}`);
        inputs[key] = new Tensor(tensors[key], shape);
      }
      const results = await this.stages[name].signatures[name].run(inputs);
      const outputs = {};
      for (const [key, tensor] of Object.entries(results)) {
        outputs[key] = await tensor.data();
        tensor.delete();
      }
      return outputs;
    } finally {
      for (const tensor of Object.values(inputs)) tensor.delete();
    }
  }

  /**
   * Compiles a stage for the CPU and, if it is one of convolutions, for the GPU: LiteRT accepts no others there. Of the
   * two, the faster one stays, unless the GPU gives other results.
   */
  async #compile(stage, bytes, accelerator = "auto") {
    const cpu = await loadAndCompile(bytes, { accelerator: "wasm", cpuOptions: { numThreads: this.info.threads } });
    this.stages[stage] = cpu;
    this.info.accelerators[stage] = "wasm";
    if (accelerator === "wasm" || !getWebGpuDevice() || !this.description.convolution_stages.includes(stage)) return;
    let gpu;
    try {
      const expected = await this.#measure(stage);
      gpu = await loadAndCompile(bytes, { accelerator: "webgpu", gpuOptions: { precision: "fp32" } });
      this.stages[stage] = gpu;
      const actual = await this.#measure(stage);
      const isFaster = accelerator === "webgpu" || actual.time < expected.time;
      if (isFaster && difference(actual.outputs, expected.outputs) <= GPU_TOLERANCE) {
        this.info.accelerators[stage] = "webgpu";
        cpu.delete();
        return;
      }
    } catch (error) {
      console.debug(`${stage} does not run on the GPU: ${error}`);
    }
    this.stages[stage] = cpu;
    gpu?.delete();
  }

  /** Runs a stage on varied numbers in [0, 1]; the second run counts, after GPUs have compiled. */
  async #measure(stage) {
    const inputs = {};
    for (const [name, { shape }] of Object.entries(this.description.stages[stage].inputs)) {
      const length = shape.reduce((product, size) => product * size, 1);
      inputs[name] = Float32Array.from({ length }, (_, index) => (index * 0.618034) % 1);
    }
    await this.run(stage, inputs);
    const start = performance.now();
    const outputs = await this.run(stage, inputs);
    return { outputs, time: performance.now() - start };
  }

  /** Computes everything that depends on the source image only. */
  async encodeSource(pixels) {
    const source = toTensor(pixels);
    const keypoints = await this.run("detector", { frame: source });
    const encoded = await this.run("source_encoder", { source });
    this.encoded = { source, ...encoded, ...prefixed("source_", keypoints) };
  }

  /** The next driving frame becomes the one that relative motion starts from. */
  recenter() {
    this.initial = this.smoothed = null;
  }

  /**
   * Animates the source of the last `encodeSource` with one driving frame.
   *
   * @param {Uint8ClampedArray} pixels RGBA of the model's frame size.
   * @param {{relative: boolean, adaptScale: boolean, smoothing: number}} options
   */
  async animate(pixels, { relative, adaptScale, smoothing }) {
    const driving = smooth(this.smoothed, await this.run("detector", { frame: toTensor(pixels) }), smoothing);
    this.smoothed = driving;
    this.initial ??= driving;
    let state = { ...this.encoded, ...prefixed("driving_", driving), ...prefixed("initial_", this.initial) };
    state.relative = Float32Array.of(relative);
    state.adapt_scale = Float32Array.of(adaptScale);
    for (const stage of ["motion", "warp", "renderer"]) state = { ...state, ...(await this.run(stage, state)) };
    return toPixels(state.prediction);
  }
}

/** LiteRT writes all its messages to the error stream. */
function log(line) {
  if (/^(INFO|WARNING)/.test(line)) console.debug(line);
  else console.error(line);
}

/** Adds up what several downloads have received. */
class Progress {
  constructor(report) {
    this.report = report;
    this.done = this.total = 0;
  }

  async fetch(url) {
    const response = await download(url);
    this.total += Number(response.headers.get("Content-Length"));
    const parts = [];
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      this.done += value.length;
      this.report(this.done, Math.max(this.done, this.total));
    }
    return new Blob(parts).arrayBuffer();
  }
}

async function download(url) {
  let response;
  try {
    response = await fetch(url);
  } catch (error) {
    throw new Error(`${url} cannot be downloaded (${error.message}); check the connection`);
  }
  if (!response.ok) throw new Error(`${url} cannot be downloaded: status ${response.status}; upload the whole folder`);
  return response;
}

/** Decompresses a file, unless the server sent it with Content-Encoding and the browser has done so. */
async function unpack(buffer) {
  const [first, second] = new Uint8Array(buffer);
  if (first !== 0x1f || second !== 0x8b) return buffer;
  return new Response(new Blob([buffer]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

function prefixed(prefix, tensors) {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [prefix + name, tensor]));
}

/** The largest difference of outputs, relative to the largest value of each where that is above 1; NaN if any is. */
function difference(actual, expected) {
  const differences = Object.keys(expected).map((name) => {
    const largest = expected[name].reduce((most, value) => Math.max(most, Math.abs(value)), 1);
    const gap = (most, value, index) => Math.max(most, Math.abs(actual[name][index] - value));
    return expected[name].reduce(gap, 0) / largest;
  });
  return Math.max(...differences);
}

/** Exponential moving average: `smoothing` is the weight of the past. */
function smooth(past, keypoints, smoothing) {
  if (!past || !smoothing) return keypoints;
  const mix = (name) => keypoints[name].map((value, index) => value + smoothing * (past[name][index] - value));
  return Object.fromEntries(Object.keys(keypoints).map((name) => [name, mix(name)]));
}

/** RGBA bytes to RGB in [0, 1]. */
function toTensor(pixels) {
  const tensor = new Float32Array((pixels.length / 4) * 3);
  for (let from = 0, to = 0; from < pixels.length; from += 4, to += 3) {
    tensor[to] = pixels[from] / 255;
    tensor[to + 1] = pixels[from + 1] / 255;
    tensor[to + 2] = pixels[from + 2] / 255;
  }
  return tensor;
}

/** RGB in [0, 1] to opaque RGBA bytes; Uint8ClampedArray rounds. */
function toPixels(tensor) {
  const pixels = new Uint8ClampedArray((tensor.length / 3) * 4);
  for (let from = 0, to = 0; from < tensor.length; from += 3, to += 4) {
    pixels[to] = tensor[from] * 255;
    pixels[to + 1] = tensor[from + 1] * 255;
    pixels[to + 2] = tensor[from + 2] * 255;
    pixels[to + 3] = 255;
  }
  return pixels;
}
