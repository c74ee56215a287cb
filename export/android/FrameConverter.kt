package fomm

import android.graphics.Bitmap
import java.nio.ByteBuffer
import kotlin.math.roundToInt

/** Converts between bitmaps of the model's size and float tensors `[1, height, width, 3]` in [0, 1]. */
internal class FrameConverter(private val height: Int, private val width: Int) {
    private val pixels = IntArray(height * width)

    fun toTensor(bitmap: Bitmap, tensor: ByteBuffer) {
        require(bitmap.width == width && bitmap.height == height) {
            "bitmap: got ${bitmap.width} x ${bitmap.height}; expected $width x $height; resize it with Fomm.fit."
        }
        bitmap.getPixels(pixels, 0, width, 0, 0, width, height)
        tensor.rewind()
        for (pixel in pixels) {
            tensor.putFloat((pixel shr 16 and 255) / 255f)
            tensor.putFloat((pixel shr 8 and 255) / 255f)
            tensor.putFloat((pixel and 255) / 255f)
        }
    }

    fun toBitmap(tensor: ByteBuffer, bitmap: Bitmap): Bitmap {
        tensor.rewind()
        for (index in pixels.indices) {
            val red = toByte(tensor.getFloat())
            val green = toByte(tensor.getFloat())
            val blue = toByte(tensor.getFloat())
            pixels[index] = (255 shl 24) or (red shl 16) or (green shl 8) or blue
        }
        bitmap.setPixels(pixels, 0, width, 0, 0, width, height)
        return bitmap
    }

    /** The center of a bitmap at the model's size, halved while it is at least twice as large. */
    fun fit(bitmap: Bitmap): Bitmap {
        val scale = maxOf(height / bitmap.height.toFloat(), width / bitmap.width.toFloat())
        val cropHeight = (height / scale).roundToInt().coerceIn(1, bitmap.height)
        val cropWidth = (width / scale).roundToInt().coerceIn(1, bitmap.width)
        val left = (bitmap.width - cropWidth) / 2
        val top = (bitmap.height - cropHeight) / 2
        var resized = Bitmap.createBitmap(bitmap, left, top, cropWidth, cropHeight)
        while (resized.height >= 2 * height && resized.width >= 2 * width) {
            resized = Bitmap.createScaledBitmap(resized, resized.width / 2, resized.height / 2, true)
        }
        return Bitmap.createScaledBitmap(resized, width, height, true)
    }

    fun newBitmap(): Bitmap = Bitmap.createBitmap(width, height, Bitmap.Config.ARGB_8888)

    /** The byte of a value in [0, 1]; NaN gives 0. */
    private fun toByte(value: Float): Int = (value * 255f + 0.5f).toInt().coerceIn(0, 255)
}
