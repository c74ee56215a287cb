"""The sound track of one file laid under the frames of another, as far as those reach."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

from fomm_tf.video import decoding


class AudioTrack:
    """Copies packets where the output can hold their codec, encodes anew where not.

    It is asked to go on frame by frame, so that the sound ends with the picture, neither needs to be kept, and both
    lie close together in the file.
    """

    def __init__(
        self, path: Path, start: float, output: av.container.OutputContainer, copied: set[str], encoder: str
    ) -> None:
        """Adds a track to `output` if the file at `path` has sound after `start`; else nothing comes of it.

        Args:
          path: a media file; a folder has no sound.
          start: seconds from the start of its video track.
          output: a container that nothing was written to yet.
          copied: the codecs that `output` holds.
          encoder: what to encode all others with.

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
        """Writes what ends up to `until`, in seconds of the output."""
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
        """Writes what the encoder still holds."""
        if self._stream is not None and not self._copies:
            self._output.mux(self._stream.encode(None))

    def close(self) -> None:
        """Lets go of the input."""
        if self._input is not None:
            self._input.close()

    def _shifted(self, source: av.AudioStream, start: float) -> Iterator[tuple[float, av.Packet | av.AudioFrame]]:
        """Yields (end in seconds of the output, packet or frame), from `start` on, stamped from 0 in samples."""
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
                    # What lies just before the start of a whole track is the run-up that its decoder needs.
                    if place < (0 if start > 0 else -rate // 10):
                        continue
                    # Matroska rounds time stamps to milliseconds; taken at its word, it tears the sound apart.
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
        except av.FFmpegError:  # a damaged track ends early, as the picture does
            return


def _decoded(packet: av.Packet) -> list[av.AudioFrame]:
    try:
        return packet.decode()
    except av.error.InvalidDataError:
        return []
