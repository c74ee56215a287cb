// Hosts the engine, so that a page stays responsive. A classic worker: LiteRT loads its scripts with importScripts.

let engine;

const METHODS = {
  async load({ url, options }) {
    const { Engine } = await import("./engine.js");
    engine = await Engine.load(url, options, (done, total) => postMessage({ progress: { done, total } }));
    return { description: engine.description, info: engine.info };
  },
  encodeSource: ({ pixels }) => engine.encodeSource(pixels),
  animate: ({ pixels, options }) => engine.animate(pixels, options),
  recenter: () => engine.recenter(),
  run: ({ stage, tensors }) => engine.run(stage, tensors),
};

onmessage = async ({ data: { id, method, argument } }) => {
  try {
    const result = await METHODS[method](argument);
    postMessage({ id, result }, result instanceof Uint8ClampedArray ? [result.buffer] : []);
  } catch (error) {
    postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
};
