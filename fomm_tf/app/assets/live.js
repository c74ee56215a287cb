// Sends the newest camera frame whenever fewer than two are on their way, and draws the animations in order.
const IN_FLIGHT = 2;
const WINDOW_MS = 2000;
let run = 0; // changes when the camera starts or stops
let stream = null;

const find = (selector) => element.querySelector(selector);
const say = (text) => (find(".rates").textContent = text);

function stop() {
  run += 1;
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  find("video").srcObject = null;
}

async function start({ token, side, mirror }) {
  stop();
  const current = run;
  const video = find("video");
  try {
    const wanted = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 }, facingMode: "user" };
    const opened = await navigator.mediaDevices.getUserMedia({ video: wanted });
    if (current !== run) return opened.getTracks().forEach((track) => track.stop());
    stream = opened;
  } catch (error) {
    const https = window.isSecureContext ? "" : " Browsers allow it on https and localhost only.";
    return say(`The camera cannot be used (${error.name}); allow it in the browser's settings.${https}`);
  }
  video.style.transform = mirror ? "scaleX(-1)" : "";
  video.srcObject = stream;
  await video.play();

  const scratch = document.createElement("canvas");
  const canvas = find("canvas");
  let number = 0, drawn = -1, flying = 0, dropped = 0, shown = [];

  function capture() {
    const scale = side / Math.min(video.videoWidth, video.videoHeight);
    const width = Math.round(video.videoWidth * scale), height = Math.round(video.videoHeight * scale);
    if (scratch.width !== width || scratch.height !== height) Object.assign(scratch, { width, height });
    const context = scratch.getContext("2d", { willReadFrequently: true });
    context.setTransform(mirror ? -1 : 1, 0, 0, 1, mirror ? width : 0, 0);
    context.drawImage(video, 0, 0, width, height);
    return scratch.toDataURL("image/jpeg", 0.85).split(",")[1];
  }

  async function send() {
    const mine = number++, begin = performance.now();
    flying += 1;
    try {
      const answer = await server.live_frame({ token, number: mine, image: capture() });
      if (current !== run) return;
      if (answer.error) throw new Error(answer.error);
      if (!answer.image) return void (dropped += 1);
      const image = new Image();
      image.src = `data:image/jpeg;base64,${answer.image}`;
      await image.decode();
      if (current !== run || mine < drawn) return;
      drawn = mine;
      if (canvas.width !== image.width || canvas.height !== image.height)
        Object.assign(canvas, { width: image.width, height: image.height });
      canvas.getContext("2d").drawImage(image, 0, 0);
      const now = performance.now();
      shown.push([now, now - begin]);
    } catch (error) {
      if (current !== run) return;
      stop();
      say(error.message || "The server does not answer.");
    } finally {
      flying -= 1;
    }
  }

  function onFrame() {
    if (current !== run) return;
    video.requestVideoFrameCallback(onFrame);
    if (flying < IN_FLIGHT) send();
    else dropped += 1;
  }

  function report() {
    if (current !== run) return;
    const now = performance.now();
    shown = shown.filter(([time]) => time > now - WINDOW_MS);
    if (shown.length > 1) {
      const rate = (1000 * (shown.length - 1)) / (shown.at(-1)[0] - shown[0][0]);
      const delays = shown.map(([, delay]) => delay).sort((one, other) => one - other);
      const delay = delays[Math.floor(delays.length / 2)];
      Object.assign(element.dataset, { fps: rate.toFixed(2), latency: delay.toFixed(1), frames: String(drawn + 1) });
      say(`${rate.toFixed(1)} frames/s, ${delay.toFixed(0)} ms from camera to animation, ${dropped} camera frames dropped`);
    }
    setTimeout(report, 500);
  }

  say("Starting...");
  video.requestVideoFrameCallback(onFrame);
  report();
}

watch("value", () => {
  if (props.value) start(JSON.parse(props.value));
  else {
    stop();
    say("The camera is off.");
  }
});
