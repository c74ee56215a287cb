package fomm

import android.content.res.AssetManager
import java.io.Closeable
import java.io.FileInputStream
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.gpu.CompatibilityList
import org.tensorflow.lite.gpu.GpuDelegate
import org.tensorflow.lite.gpu.GpuDelegateFactory

/**
 * The interpreter of one stage. Create it, run it and close it on the same thread: a GPU delegate requires that.
 *
 * @param name name of the stage, which is the name of the file's only signature too.
 * @param gpu whether to try the GPU delegate first.
 * @param threads CPU threads.
 */
internal class StageRunner(
    assets: AssetManager,
    path: String,
    private val name: String,
    private val stage: PipelineDescription.Stage,
    gpu: Boolean,
    threads: Int,
) : Closeable {
    private var delegate: GpuDelegate? = null
    private val interpreter: Interpreter

    init {
        val model = map(assets, path)
        interpreter = (if (gpu) onGpu(model) else null)
            ?: Interpreter(model, Interpreter.Options().setNumThreads(threads))
    }

    /** Runs the stage; takes its inputs from `tensors` and writes its outputs there, by name. */
    fun run(tensors: Map<String, ByteBuffer>) {
        val inputs = stage.inputs.keys.associateWith { tensors.getValue(it) }
        val outputs = stage.outputs.keys.associateWith { tensors.getValue(it) }
        for (buffer in inputs.values + outputs.values) buffer.rewind()
        interpreter.runSignature(inputs, outputs, name)
    }

    override fun close() {
        interpreter.close()
        delegate?.close()
    }

    /** The interpreter on the GPU; null where the device or the delegate refuses. */
    private fun onGpu(model: ByteBuffer): Interpreter? {
        if (!CompatibilityList().use { it.isDelegateSupportedOnThisDevice }) return null
        // Half precision moves keypoints.
        val options = GpuDelegateFactory.Options().setPrecisionLossAllowed(name != "detector")
        var created: GpuDelegate? = null
        return try {
            created = GpuDelegate(options)
            Interpreter(model, Interpreter.Options().addDelegate(created)).also { delegate = created }
        } catch (error: RuntimeException) {
            created?.close()
            null
        }
    }

    private fun map(assets: AssetManager, path: String): ByteBuffer =
        assets.openFd(path).use { asset ->
            FileInputStream(asset.fileDescriptor).use {
                it.channel.map(FileChannel.MapMode.READ_ONLY, asset.startOffset, asset.declaredLength)
            }
        }
}
