"""Copies or transcodes the audio track of one file into another, for as long as that file has frames."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

from fomm_tf.video import decoding


class AudioTrack:
    """Copies packets where the output can hold their codec, and transcodes them otherwise.

    The writer calls `advance` after each frame, so that audio and video are interleaved in the file, the audio ends
    with the video, and nothing is buffered.
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
        if path.is_dir():
            return
        self._input = decoding.open_container(path)
        source = next((stream for stream in self._input.streams.audio if stream.codec_context is not None), None)
        if source is None:
            return
        # Without its header (as in .aac and .ts files) AAC cannot be put into an mp4 as it is.
        self._copies = source.codec.canonical_name in copied and (
            source.codec.canonical_name != "aac" or source.codec_context.extradata
        )
        self._pieces = self._shifted(source, start)
        self._next = next(self._pieces, None)
        if self._next is None:
            return
        if self._copies:
            self._stream = output.add_stream_from_template(source)
        else:
            layout = "mono" if source.codec_context.channels == 1 else "stereo"
            self._stream = output.add_stream(encoder, rate=48000, layout=layout)

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
                self._output.mux(self._stream.encode(piece))
            self._next = next(self._pieces, None)

    def finish(self) -> None:
        """Flushes the encoder."""
        if self._stream is not None and not self._copies:
            self._output.mux(self._stream.encode(None))

    def close(self) -> None:
        """Closes the input."""
        if self._input is not None:
            self._input.close()

    def _shifted(self, source: av.AudioStream, start: float) -> Iterator[tuple[float, av.Packet | av.AudioFrame]]:
        """Yields (end in seconds of the output, packet or frame) from `start` on; time stamps count samples from 0."""
        begin = decoding.origin(self._input) + start
        rate = source.codec_context.sample_rate
        clock = None
        try:
            if start > 0:
                self._input.seek(int(begin / source.time_base), stream=source)
            for packet in self._input.demux(source):
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
                    if self._copies:
                        samples = source.codec_context.frame_size or round(
                            (piece.duration or 0) * piece.time_base * rate
                        )
                        piece.dts, piece.duration = place, samples
                    else:
                        samples = piece.samples
                    piece.pts, piece.time_base = place, Fraction(1, rate)
                    clock = place + samples
                    yield clock / rate, piece
        except av.FFmpegError:  # a damaged track ends early, as the video does
            return


def _decoded(packet: av.Packet) -> list[av.AudioFrame]:
    try:
        return packet.decode()
    except av.error.InvalidDataError:
        return []
