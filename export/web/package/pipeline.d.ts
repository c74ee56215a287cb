/** What a frame is read from; an image, canvas or video must be loaded and of this page's origin. */
export type Frame = CanvasImageSource | ImageData;

/** Tensors of a stage by name, row-major; `Pipeline.description` has their shapes. */
export type Tensors = Record<string, Float32Array>;

export interface LoadOptions {
  /** One of the `variants` in pipeline.json. Default: the first. */
  variant?: string;
  /**
   * CPU threads. More than 1 needs a cross-origin isolated page. Default: the number of cores, at most 4, on such a
   * page; else 1.
   */
  threads?: number;
  /** Which WebAssembly runs, see `Info.build`. Default: the fastest that the browser supports. */
  build?: Info["build"];
  /**
   * Where stages of convolutions run. `auto`, the default: on the GPU where there is WebGPU, it is faster, and its
   * results are within 1e-3 of the CPU's. `webgpu`: the same, even if it is slower.
   */
  accelerator?: "auto" | "wasm" | "webgpu";
  /** Called while the runtime and the model are downloaded, with bytes. */
  onprogress?: (progress: { done: number; total: number }) => void;
}

export interface AnimateOptions {
  /** Transfer the motion since the first driving frame; else take the driving pose as it is. */
  relative?: boolean;
  /** Scale relative motion by the sizes of the two objects. */
  adaptScale?: boolean;
  /** Weight of the past in the moving average of the keypoints, at least 0 and below 1. Default: 0. */
  smoothing?: number;
}

export interface TensorDescription {
  shape: number[];
  dtype: "float32";
}

/** The contents of pipeline.json; see `export/pipeline.md` of fomm-tf. */
export interface Description {
  name: string;
  /** Height and width. */
  frame_size: [number, number];
  num_keypoints: number;
  animate: { mode: "relative" | "absolute"; adapt_scale: boolean };
  convolution_stages: string[];
  stages: Record<string, { inputs: Record<string, TensorDescription>; outputs: Record<string, TensorDescription> }>;
  variants: Record<string, Record<string, string>>;
}

export interface Info {
  variant: string;
  /** Which WebAssembly runs: with threads, without, or for browsers without relaxed SIMD. */
  build: "threads" | "simd" | "compatible";
  threads: number;
  /** By stage. */
  accelerators: Record<string, "wasm" | "webgpu">;
}

/** A model, ready to animate. Calls run one after the other, in a worker. */
export class Pipeline {
  private constructor();

  /**
   * Loads a model.
   *
   * @param url directory of pipeline.json, relative to the page.
   * @throws if the browser lacks something, or a file cannot be downloaded.
   */
  static load(url: string | URL, options?: LoadOptions): Promise<Pipeline>;

  readonly description: Description;
  readonly info: Info;
  readonly width: number;
  readonly height: number;
  /** The settings that the model was trained for. */
  readonly defaults: Required<AnimateOptions>;

  /**
   * Animates an image with one frame. Both are cropped at the center and resized to the model's frame size.
   *
   * The source is encoded when it is another object than in the call before. The first frame, and the first one after
   * `recenter`, is the one that relative motion starts from.
   *
   * @returns an image of the model's frame size.
   */
  animate(source: Frame, frame: Frame, options?: AnimateOptions): Promise<ImageData>;

  /** Starts again: the next frame becomes the one that relative motion starts from. Call it before each new video. */
  recenter(): Promise<void>;

  /** Runs one stage; tensors that are not its inputs are ignored. */
  run(stage: string, tensors: Tensors): Promise<Tensors>;

  /** Frees the memory. Calls that wait are rejected. */
  close(): void;
}

/** What this browser lacks, in words; empty if `Pipeline.load` can work. */
export function missingFeatures(): string[];
