package fomm

import android.content.res.AssetManager
import android.graphics.Bitmap
import java.io.Closeable
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.concurrent.Callable
import java.util.concurrent.ExecutionException
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors
import java.util.concurrent.Future

/**
 * Animates a source image with the motion of driving frames. Call it from one thread at a time, not the main thread, and
 * close it.
 *
 * @param assets where the files are.
 * @param folder their folder there, with `pipeline.json`.
 * @param gpu whether convolutions run on the GPU where its delegate accepts them.
 * @param threads CPU threads per stage.
 * @param variant which files; null selects `PipelineDescription.defaultVariant`.
 * @throws IllegalArgumentException if there is no such variant.
 */
class Fomm(
    private val assets: AssetManager,
    private val folder: String,
    private val gpu: Boolean = true,
    private val threads: Int = 4,
    variant: String? = null,
) : Closeable {
    /** Keypoints of one image, a buffer for each tensor of the detector. */
    class Keypoints internal constructor(internal val tensors: Map<String, ByteBuffer>) {
        internal fun copyInto(other: Keypoints): Keypoints {
            for ((name, tensor) in tensors) {
                tensor.rewind()
                other.tensors.getValue(name).apply { rewind() }.put(tensor)
            }
            return other
        }

        internal fun withPrefix(prefix: String): Map<String, ByteBuffer> = tensors.mapKeys { (name, _) -> prefix + name }
    }

    val description = PipelineDescription(assets.open("$folder/pipeline.json").bufferedReader().use { it.readText() })

    /** Whether motion is transferred relative to the first frame of a clip. */
    var relative: Boolean = description.relative

    /** Whether relative motion is scaled by the sizes of the two objects. */
    var adaptScale: Boolean = description.adaptScale

    private val variant = variant ?: description.defaultVariant(gpu)
    private val renderStages = description.frameStages - "detector"
    private val buffers: Map<String, ByteBuffer> = description.stages.filterKeys { it in usedStages() }.values
        .flatMap { (it.inputs + it.outputs).entries }
        .associate { (name, tensor) -> name to allocate(tensor) }
    private val sourceKeypoints = newKeypoints()
    private val drivingKeypoints = listOf(newKeypoints(), newKeypoints())
    private var initialKeypoints: Keypoints? = null
    private val detectorFrames = FrameConverter(description.height, description.width)
    private val rendererFrames = FrameConverter(description.height, description.width)
    private val detectorThread = Executors.newSingleThreadExecutor()
    private val rendererThread = Executors.newSingleThreadExecutor()
    private val runners = HashMap<String, StageRunner>()

    init {
        try {
            for (stage in usedStages()) runners[stage] = on(threadOf(stage)) { load(stage) }
        } catch (error: Throwable) {
            close()
            throw error
        }
    }

    /** Sets the image to animate, of the model's size. */
    fun encodeSource(image: Bitmap) {
        on(detectorThread) { runDetector(image, sourceKeypoints) }
        on(rendererThread) {
            rendererFrames.toTensor(image, buffers.getValue("source"))
            for (stage in description.sourceStages - "detector") runners.getValue(stage).run(buffers)
        }
    }

    /** Detects the keypoints of a frame of the model's size; fills and returns `into`. */
    fun detect(frame: Bitmap, into: Keypoints = newKeypoints()): Keypoints =
        on(detectorThread) { runDetector(frame, into) }

    /** Renders one frame; fills and returns `into`, a mutable bitmap of the model's size. */
    fun render(
        driving: Keypoints,
        initial: Keypoints,
        relative: Boolean = this.relative,
        adaptScale: Boolean = this.adaptScale,
        into: Bitmap = newBitmap(),
    ): Bitmap = on(rendererThread) {
        buffers.getValue("relative").put(0, if (relative) 1 else 0)
        buffers.getValue("adapt_scale").put(0, if (adaptScale) 1 else 0)
        val keypoints = sourceKeypoints.withPrefix("source_") + driving.withPrefix("driving_") +
            initial.withPrefix("initial_")
        for (stage in renderStages) runners.getValue(stage).run(buffers + keypoints)
        rendererFrames.toBitmap(buffers.getValue("prediction"), into)
    }

    /** Animates one frame; the first frame after `reset` provides the initial keypoints. */
    fun animate(frame: Bitmap, into: Bitmap = newBitmap()): Bitmap {
        val driving = detect(frame, drivingKeypoints[0])
        return render(driving, initialOr(driving), into = into)
    }

    /**
     * Animates a clip; detects the keypoints of the next frame while the current one is rendered.
     *
     * @param show receives `into` for every frame.
     */
    fun animate(frames: Iterator<Bitmap>, into: Bitmap = newBitmap(), show: (Bitmap) -> Unit) {
        var slot = 0
        var next = detectNext(frames, drivingKeypoints[slot])
        while (next != null) {
            val driving = result(next)
            slot = 1 - slot
            next = detectNext(frames, drivingKeypoints[slot])
            show(render(driving, initialOr(driving), into = into))
        }
    }

    /** Starts a new clip: the next frame provides the initial keypoints. */
    fun reset() {
        initialKeypoints = null
    }

    /** The center of a bitmap at the model's size. */
    fun fit(bitmap: Bitmap): Bitmap = rendererFrames.fit(bitmap)

    /** Closes the interpreters, each on its thread, and stops the threads. */
    override fun close() {
        for ((stage, runner) in runners) on(threadOf(stage)) { runner.close() }
        runners.clear()
        detectorThread.shutdown()
        rendererThread.shutdown()
    }

    fun newKeypoints(): Keypoints = Keypoints(description.keypoints.mapValues { (_, tensor) -> allocate(tensor) })

    fun newBitmap(): Bitmap = rendererFrames.newBitmap()

    private fun runDetector(frame: Bitmap, keypoints: Keypoints): Keypoints {
        detectorFrames.toTensor(frame, buffers.getValue("frame"))
        runners.getValue("detector").run(buffers + keypoints.tensors)
        return keypoints
    }

    private fun initialOr(driving: Keypoints): Keypoints =
        initialKeypoints ?: driving.copyInto(newKeypoints()).also { initialKeypoints = it }

    private fun detectNext(frames: Iterator<Bitmap>, into: Keypoints): Future<Keypoints>? {
        if (!frames.hasNext()) return null
        val frame = frames.next()
        return detectorThread.submit(Callable { runDetector(frame, into) })
    }

    private fun usedStages(): Set<String> = (description.sourceStages + description.frameStages).toSet()

    private fun load(stage: String): StageRunner {
        val files = requireNotNull(description.variants[variant]) {
            "variant: got $variant; expected one of ${description.variants.keys}."
        }
        val onGpu = gpu && stage in description.gpuStages(variant)
        val path = folder + "/" + files.getValue(stage)
        return StageRunner(assets, path, stage, description.stages.getValue(stage), onGpu, threads)
    }

    private fun threadOf(stage: String): ExecutorService = if (stage == "detector") detectorThread else rendererThread

    private fun <T> on(thread: ExecutorService, task: () -> T): T = result(thread.submit(Callable { task() }))

    private fun <T> result(future: Future<T>): T {
        try {
            return future.get()
        } catch (error: ExecutionException) {
            throw error.cause ?: error
        }
    }

    private fun allocate(tensor: PipelineDescription.Tensor): ByteBuffer =
        ByteBuffer.allocateDirect(tensor.byteCount).order(ByteOrder.nativeOrder())
}
