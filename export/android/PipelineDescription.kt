package fomm

import org.json.JSONArray
import org.json.JSONObject

/**
 * What `pipeline.json` says about the exported files: frame size, stages, tensors and variants.
 *
 * @param json the text of `pipeline.json`.
 * @throws org.json.JSONException if a key is missing.
 * @throws IllegalArgumentException if the files take more than one driving frame per call.
 */
class PipelineDescription(json: String) {
    /** A dense tensor, the last axis fastest; a size that is open in the file counts as 1. */
    class Tensor(val shape: List<Int>, val dtype: String) {
        val byteCount: Int = shape.fold(1) { product, size -> product * size } * BYTES_PER_ELEMENT.getValue(dtype)
    }

    /** Inputs and outputs of one file, by name. */
    class Stage(val inputs: Map<String, Tensor>, val outputs: Map<String, Tensor>)

    private val root = JSONObject(json)

    /** Name of the exported model. */
    val name: String = root.getString("name")

    /** Height and width of every image that goes in or out. */
    val height: Int = root.getJSONArray("frame_size").getInt(0)
    val width: Int = root.getJSONArray("frame_size").getInt(1)

    /** The settings that the model was trained for. */
    val relative: Boolean = root.getJSONObject("animate").getString("mode") == "relative"
    val adaptScale: Boolean = root.getJSONObject("animate").getBoolean("adapt_scale")

    /** Stages in the order in which they run, once per source image and once per driving frame. */
    val sourceStages: List<String> = strings(root.getJSONArray("source_stages"))
    val frameStages: List<String> = strings(root.getJSONArray("frame_stages"))

    /** Stages that consist of convolutions; the others gather, which GPU delegates refuse. */
    private val convolutionStages = strings(root.getJSONArray("convolution_stages"))

    /** Stage name to its tensors. */
    val stages: Map<String, Stage> = entries(root.getJSONObject("stages")).mapValues { (_, stage) ->
        Stage(tensors(stage.getJSONObject("inputs")), tensors(stage.getJSONObject("outputs")))
    }

    /** Variant to stage name to file name. */
    val variants: Map<String, Map<String, String>> = nestedStrings(root.getJSONObject("variants"))

    /** Variant to stage name to what its weights and activations are stored as. */
    private val quantization = nestedStrings(root.getJSONObject("quantization"))

    /** Keypoint tensors of one image: the outputs of the detector. */
    val keypoints: Map<String, Tensor> = stages.getValue("detector").outputs

    init {
        val batch = stages.getValue("detector").inputs.getValue("frame").shape[0]
        require(batch == 1) {
            "pipeline.json: the files take $batch driving frames per call; expected 1; export again with --batch 1."
        }
    }

    /** Stages of a variant whose files a GPU delegate accepts: float convolutions. */
    fun gpuStages(variant: String): Set<String> {
        val kinds = quantization.getValue(variant)
        return convolutionStages.filter { kinds[it] == "float32" || kinds[it] == "float16" }.toSet()
    }

    /** The fastest variant among the exported ones whose quality needs no review. */
    fun defaultVariant(gpu: Boolean): String {
        val preferred = if (gpu) listOf("float16", "float32") else listOf("dynamic", "float32")
        return preferred.firstOrNull { it in variants } ?: variants.keys.first()
    }

    private companion object {
        val BYTES_PER_ELEMENT = mapOf("float32" to 4, "bool" to 1)

        fun entries(parent: JSONObject): Map<String, JSONObject> =
            parent.keys().asSequence().associateWith { parent.getJSONObject(it) }

        fun nestedStrings(parent: JSONObject): Map<String, Map<String, String>> =
            entries(parent).mapValues { (_, child) ->
                child.keys().asSequence().associateWith { child.getString(it) }
            }

        fun strings(array: JSONArray): List<String> = (0 until array.length()).map { array.getString(it) }

        fun tensors(parent: JSONObject): Map<String, Tensor> = entries(parent).mapValues { (_, tensor) ->
            val sizes = tensor.getJSONArray("shape")
            Tensor((0 until sizes.length()).map { sizes.optInt(it, 1) }, tensor.getString("dtype"))
        }
    }
}
