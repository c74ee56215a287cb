// The page: inputs, options and buttons around a Pipeline.

import { Driver, describeCameraError } from "./driver.js";
import { FrameRate } from "./frame_rate.js";
import { Pipeline } from "./package/pipeline.js";
import { Recorder } from "./recorder.js";

const element = (id) => document.getElementById(id);
const [status, error, progress, result] = ["status", "error", "progress", "result"].map(element);
const rate = new FrameRate();
const driver = new Driver(element("driving"), animateFrame);
let pipeline;
let recorder;
let image;

async function start() {
  status.textContent = "Loading the model";
  progress.hidden = false;
  pipeline = await Pipeline.load("model/", {
    onprogress({ done, total }) {
      progress.value = done / total;
    },
  });
  const { info, description, defaults, width, height } = pipeline;
  for (const canvas of [element("source"), result]) Object.assign(canvas, { width, height });
  document.querySelectorAll("canvas, video").forEach((shown) => (shown.style.aspectRatio = `${width} / ${height}`));
  element("options").elements.mode.value = defaults.relative ? "relative" : "absolute";
  const threads = info.threads > 1 ? `${info.threads} threads` : "1 thread";
  element("about").textContent = `Model ${description.name}, ${width} × ${height}, ${info.variant}, ${threads}.`;
  if (!Recorder.isSupported(result)) element("record").title = "This browser cannot record: it lacks MediaRecorder.";
  progress.hidden = true;
  element("example").disabled = false;
  status.textContent = "Choose an image and a video, use the camera, or show the example.";
}

/** Animates the current frame of the video; called for one frame after the other. */
async function animateFrame(video) {
  if (!image) return;
  const { mode, smoothing } = element("options").elements;
  const options = { relative: mode.value === "relative", smoothing: Number(smoothing.value) };
  const frame = await pipeline.animate(image, video, options);
  result.getContext("2d").putImageData(frame, 0, 0);
  element("rate").textContent = `${rate.add(performance.now()).toFixed(1)} frames/s`;
}

async function showImage(blob) {
  image = await createImageBitmap(blob).catch(() => {
    throw new Error(`${blob.name ?? "The file"} is not an image that this browser can read; try a JPEG or PNG file.`);
  });
  const canvas = element("source");
  const scale = Math.max(canvas.width / image.width, canvas.height / image.height);
  const [width, height] = [image.width * scale, image.height * scale];
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
  describe();
}

async function showVideo(blob) {
  await pipeline.recenter();
  await driver.openFile(blob);
  describe();
}

async function showCamera() {
  await pipeline.recenter();
  await driver.openCamera().catch((cause) => {
    throw new Error(describeCameraError(cause));
  });
  describe();
}

async function showExample() {
  const [source, driving] = await Promise.all(
    ["example/source.png", "example/driving.webm"].map(async (url) => (await fetch(url)).blob()),
  );
  await showImage(source);
  await showVideo(driving);
}

/** Opens a chosen or dropped file. */
async function open(file) {
  if (!file) return;
  if (file.type.startsWith("image/")) await showImage(file);
  else if (file.type.startsWith("video/")) await showVideo(file);
  else throw new Error(`${file.name} is neither an image nor a video.`);
}

/** Says what is missing, and enables the buttons that make sense now. */
function describe() {
  const playing = driver.isPlaying;
  const running = Boolean(image && driver.isOpen);
  element("play").disabled = element("recenter").disabled = !running;
  element("record").disabled = !running || !Recorder.isSupported(result);
  element("play").textContent = playing ? "Pause" : "Play";
  element("camera").setAttribute("aria-pressed", String(driver.isCamera));
  if (!playing) rate.clear();
  if (running) status.textContent = playing ? "Animating." : "Paused.";
  else status.textContent = image ? "Now choose a video, or use the camera." : "Now choose an image.";
}

function toggleRecording() {
  if (recorder) {
    recorder.stop();
    return;
  }
  const link = element("download");
  link.hidden = true;
  URL.revokeObjectURL(link.href);
  recorder = new Recorder(result, (blob, name) => {
    recorder = null;
    element("record").textContent = "Record";
    element("record").setAttribute("aria-pressed", "false");
    Object.assign(link, { href: URL.createObjectURL(blob), download: name, hidden: false });
  });
  element("record").textContent = "Stop recording";
  element("record").setAttribute("aria-pressed", "true");
}

/** An event handler that shows what fails. */
function guarded(action) {
  return async (event) => {
    error.hidden = true;
    try {
      await action(event);
    } catch (cause) {
      error.textContent = cause.message;
      error.hidden = false;
    }
  };
}

function listen() {
  driver.onerror = (cause) => guarded(() => Promise.reject(cause))();
  const on = (id, type, action) => element(id).addEventListener(type, guarded(action));
  on("image-file", "change", ({ target }) => open(target.files[0]));
  on("video-file", "change", ({ target }) => open(target.files[0]));
  on("camera", "click", () => (driver.isCamera ? (driver.close(), describe()) : showCamera()));
  on("example", "click", showExample);
  on("play", "click", async () => {
    await driver.toggle();
    describe();
  });
  on("recenter", "click", () => pipeline.recenter());
  on("record", "click", toggleRecording);
  element("options").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  document.addEventListener(
    "drop",
    guarded(async (event) => {
      event.preventDefault();
      document.body.classList.remove("dropping");
      for (const file of event.dataTransfer.files) await open(file);
    }),
  );
}

await guarded(start)();
if (pipeline) listen();
else status.textContent = "The model cannot be loaded.";
progress.hidden = true;
