"""Copies or transcodes the audio track of one file into another, for as long as that file has frames."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av

from fomm_tf.video import decoding, timing

_RATE = 48000  # of transcoded audio
# The mp4 muxer takes no slower mp3.
_MIN_MP3_RATE = 16000


class AudioTrack:
    """Copies packets where the output can hold their codec, and transcodes them otherwise.

    The writer calls `advance` after each frame, so that audio and video are interleaved and end together.
    """

    def __init__(
        self, path: Path, start: float, output: av.container.OutputContainer, copied: set[str], encoder: str
    ) -> None:
        """Adds a track to `output` if the file at `path` has audio after `start`; otherwise does nothing.

        Args:
          path: a media file; a directory has no audio.
          start: seconds from the start of its video track.
          output: an empty container.
          copied: the codecs that `output` can hold.
          encoder: the encoder for all other codecs.

        Raises:
          UserError: if ffmpeg cannot read the file.
        """
        self._output, self._stream, self._pieces, self._input = output, None, iter(()), None
        self._layout = self._resampler = None
        if path.is_dir():
            return
        self._input = decoding.open_container(path)
        source = decoding.audio_stream(self._input)
        if source is None:
            return
        # Without its header (as in .aac and .ts files) AAC cannot be put into an mp4 as it is.
        name, context = source.codec.canonical_name, source.codec_context
        self._copies = (
            name in copied
            and (name != "aac" or bool(context.extradata))
            and (name != "mp3" or context.sample_rate >= _MIN_MP3_RATE)
        )
        offsets = decoding.read_offsets(path) if timing.may_jump(self._input) else ()
        self._pieces = self._shifted(source, start, offsets)
        self._next = next(self._pieces, None)
        if self._next is None:
            return
        if self._copies:
            self._stream = output.add_stream_from_template(source)
        else:
            layout = "mono" if context.channels == 1 else "stereo"
            self._stream = output.add_stream(encoder, rate=_RATE, layout=layout)

    def advance(self, until: float) -> None:
        """Writes all audio that ends by `until`, in seconds of the output."""
        if self._stream is None:
            return
        while self._next is not None and self._next[0] <= until:
            piece = self._next[1]
            if self._copies:
                piece.stream = self._stream
                self._output.mux(piece)
            else:
                for frame in self._resample(piece):
                    self._output.mux(self._stream.encode(frame))
            self._next = next(self._pieces, None)

    def _resample(self, frame: av.AudioFrame) -> list[av.AudioFrame]:
        """Converts to what the encoder takes; a broadcast changes between stereo and 5.1."""
        layout = (frame.format.name, frame.layout.name, frame.sample_rate)
        if layout != self._layout:
            context = self._stream.codec_context
            self._resampler = av.AudioResampler(context.format, context.layout, _RATE)
            self._layout = layout
        return self._resampler.resample(frame)

    def finish(self) -> None:
        """Flushes the encoder."""
        if self._stream is not None and not self._copies:
            self._output.mux(self._stream.encode(None))

    def close(self) -> None:
        """Closes the input."""
        if self._input is not None:
            self._input.close()

    def _shifted(
        self, source: av.AudioStream, start: float, offsets: Sequence[float]
    ) -> Iterator[tuple[float, av.Packet | av.AudioFrame]]:
        """Yields (end in seconds of the output, packet or frame) from `start` on; time stamps count samples from 0."""
        begin = decoding.origin(self._input) + start
        rate = source.codec_context.sample_rate
        continuous = timing.ContinuousStamps(self._input, offsets)
        clock = None
        try:
            if start > 0 and len(offsets) < 2:
                self._input.seek(int(begin / source.time_base), stream=source)
            for packet in continuous.demux(source):
                for piece in [packet] if self._copies else _decoded(packet):
                    if piece.pts is None:
                        continue
                    place = round((float(piece.pts * piece.time_base) - begin) * rate)
                    # A decoder needs the packets just before the start of a track.
                    if place < (0 if start > 0 else -rate // 10):
                        continue
                    # Matroska rounds time stamps to milliseconds, which would leave gaps between packets.
                    if clock is not None and abs(place - clock) <= max(1, piece.time_base * rate):
                        place = clock
                    if clock is not None and place < clock:  # pieces of a concatenated file overlap
                        continue
                    if self._copies:
                        samples = source.codec_context.frame_size or round(
                            (piece.duration or 0) * piece.time_base * rate
                        )
                        piece.dts, piece.duration = place, samples
                    else:
                        samples = round(piece.samples * rate / piece.sample_rate)
                    piece.pts, piece.time_base = place, Fraction(1, rate)
                    clock = place + max(1, samples)
                    yield clock / rate, piece
        except av.FFmpegError:  # a damaged track ends early, as the video does
            return


def _decoded(packet: av.Packet) -> list[av.AudioFrame]:
    try:
        return packet.decode()
    except av.error.InvalidDataError:
        return []
