"""Downloads a large file over HTTP: resumed after an interruption, with several addresses to try.

Convention:
  * a download is `NAME.part` until it is complete and verified, and is then renamed; its digests are computed while it
    arrives. After an interruption it is kept and continued, also from another address of the same digest;
  * proxies and certificates come from the environment: HTTPS_PROXY, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE and others;
  * a web page instead of the file is an error; Google Drive's page about virus scans is answered once.
"""

from __future__ import annotations

import hashlib
import html.parser
import itertools
import os
import pathlib
import shutil
import time
import urllib.parse
from collections.abc import Callable, Sequence
from email import utils as dates
from typing import TypeVar

import requests
import tqdm

from fomm_tf import errors
from fomm_tf.fetch import cache, catalog, clients

CONNECT_TIMEOUT = 15.0  # seconds
STALL_TIMEOUT = 30.0  # seconds without a byte
BACK_OFF = 1.0  # seconds before the second attempt; doubled for each further one
ATTEMPTS = 5  # in a row without a new byte, where some bytes were received
FIRST_ATTEMPTS = 2  # before the first byte
_CHUNK = 1 << 16  # what an interruption loses at most
_LARGEST_PAGE = 1 << 20
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)

T = TypeVar("T")


class _InterruptedError(Exception):
    """The transfer may succeed if it is tried again; the message is the cause."""


def download(
    addresses: Sequence[catalog.Address],
    path: pathlib.Path,
    read: Callable[[pathlib.Path], T],
    reserve: int = 0,
    report: Callable[[str], object] = print,
) -> tuple[T, str, str]:
    """Downloads a file from the first address that has it.

    Args:
      addresses: to try, in order.
      path: the file's final name; its directory exists.
      read: reads the downloaded file; if it raises a `UserError`, the file is deleted and the next address is tried.
      reserve: bytes of disk space that are needed besides the file.
      report: receives a line per address.

    Returns:
      What `read` returned, the address, and the file's sha256.

    Raises:
      UnavailableError: if no address has a correct file, or downloads are forbidden.
      errors.UserError: if the disk is full.
    """
    cache.refuse_offline(path.name)
    failures = []
    for address in addresses:
        report(f"downloading {address.url}")
        try:
            with cache.convert_errors(path.parent):
                sha256 = _Transfer(address, path, reserve).run()
            try:
                return read(path), address.url, sha256
            except errors.UserError as error:
                path.unlink()
                raise clients.UnavailableError(str(error)) from error
        except clients.UnavailableError as error:
            failures.append(f"{urllib.parse.urlsplit(address.url).hostname}: {str(error).rstrip('.')}")
            report(failures[-1])
    raise clients.UnavailableError(f"{path.name} cannot be downloaded: {'; '.join(failures) or 'no address is known'}")


class _Transfer:
    """The download from one address."""

    def __init__(self, address: catalog.Address, path: pathlib.Path, reserve: int) -> None:
        self._address, self._path, self._reserve = address, path, reserve
        self._part = path.with_name(f"{path.name}.part")
        self._url, self._may_confirm = address.url, True
        self._algorithm, _, self._expected = (address.digest or "sha256:").partition(":")
        self._session = requests.Session()
        self._session.headers["Accept-Encoding"] = "identity"

    def run(self) -> str:
        """Downloads, verifies and renames the file; returns its sha256."""
        if self._path.exists():  # complete, but an earlier process was stopped before it was converted
            os.replace(self._path, self._part)
        with self._session, self._part.open("a+b") as self._file:
            self._rehash()
            resumed = self._size()
            self._receive()
            if resumed and self._is_wrong():  # what was resumed was the beginning of another file
                self._restart()
                self._receive()
            if self._is_wrong():
                self._restart()
                got = self._digests[self._algorithm].hexdigest()
                raise clients.UnavailableError(
                    f"its {self._algorithm} is {got}; expected {self._expected}: it is another file"
                )
            self._file.flush()
            os.fsync(self._file.fileno())
        os.replace(self._part, self._path)
        return self._digests["sha256"].hexdigest()

    def _receive(self) -> None:
        attempt = 1
        while self._size() != self._address.size:
            before = self._size()
            try:
                if self._receive_once():
                    return
            except _InterruptedError as error:
                attempt = 1 if self._size() > before else attempt + 1
                limit = ATTEMPTS if self._size() else FIRST_ATTEMPTS
                if attempt > limit:
                    raise clients.UnavailableError(f"{error}, {limit} times in a row") from error
                time.sleep(BACK_OFF * 2 ** (attempt - 1))

    def _receive_once(self) -> bool:
        """Makes one request; returns whether the file is complete, or raises."""
        start = self._size()
        headers = {"Range": f"bytes={start}-"} if start else {}
        if start and not self._expected:
            # Only the file whose date the partial one has.
            headers["If-Range"] = dates.formatdate(self._part.stat().st_mtime, usegmt=True)
        modified = None
        try:
            with self._session.get(
                self._url, headers=headers, stream=True, timeout=(CONNECT_TIMEOUT, STALL_TIMEOUT)
            ) as response:
                if response.status_code == 416 and response.headers.get("Content-Range") == f"bytes */{start}":
                    return True  # the partial file is complete
                total = self._check_headers(response, start)
                modified = dates.parsedate_tz(response.headers.get("Last-Modified", ""))
                return self._store(response, total)
        except errors.UserError:
            raise
        except requests.exceptions.SSLError as error:
            cure = "set REQUESTS_CA_BUNDLE to a file of the certificates that you trust"
            raise clients.UnavailableError(f"its certificate is not trusted ({_cause(error)}); {cure}") from error
        except ValueError as error:
            raise clients.UnavailableError(f"it is not a valid address ({_cause(error)})") from error
        except requests.exceptions.RequestException as error:
            raise _InterruptedError(_cause(error)) from error
        finally:
            self._file.flush()
            if modified:
                os.utime(self._part, (dates.mktime_tz(modified),) * 2)

    def _check_headers(self, response: requests.Response, start: int) -> int | None:
        """Checks the status and the size; returns the whole file's size if known."""
        if response.status_code == 416 or (
            response.status_code == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        ):
            self._restart()
            raise _InterruptedError("the server sent another part of the file")
        if response.status_code not in (200, 206):
            message = f"HTTP status {response.status_code} {response.reason}"
            kind = _InterruptedError if response.status_code in _TEMPORARY else clients.UnavailableError
            raise kind(message)
        start = start if response.status_code == 206 else 0
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() else None
        is_page = "text/html" in response.headers.get("Content-Type", "")
        if total and self._address.size and total != self._address.size and not is_page:
            raise clients.UnavailableError(f"it has {total} bytes; expected {self._address.size}: it is another file")
        needed = (total or 0) - start + self._reserve
        if shutil.disk_usage(self._part.parent).free < needed:
            raise clients.disk_full(self._part.parent, needed)
        return total

    def _store(self, response: requests.Response, total: int | None) -> bool:
        chunks = response.iter_content(_CHUNK)
        first = next(chunks, b"")
        if response.status_code == 200:
            if first.lstrip()[:1] == b"<":
                return self._follow(_Page(first + b"".join(itertools.islice(chunks, _LARGEST_PAGE // _CHUNK))))
            self._restart()  # where the server does
        with tqdm.tqdm(
            total=total, initial=self._size(), unit="B", unit_scale=True, desc=self._path.name, disable=None
        ) as progress:
            for chunk in itertools.chain([first], chunks):
                self._file.write(chunk)
                for digest in self._digests.values():
                    digest.update(chunk)
                progress.update(len(chunk))
        if total and self._size() < total:
            raise _InterruptedError("the connection was closed early")
        return True

    def _follow(self, page: _Page) -> bool:
        """Answers Google Drive's page once; every other page is an error."""
        if page.action and self._may_confirm:
            self._url = f"{urllib.parse.urljoin(self._url, page.action)}?{urllib.parse.urlencode(page.fields)}"
            self._may_confirm = False
            return False
        raise clients.UnavailableError(f"it is {page}, not the checkpoint")

    def _size(self) -> int:
        return self._file.seek(0, os.SEEK_END)

    def _is_wrong(self) -> bool:
        return bool(self._expected) and self._digests[self._algorithm].hexdigest() != self._expected

    def _restart(self) -> None:
        self._file.truncate(0)
        self._rehash()

    def _rehash(self) -> None:
        self._digests = {name: hashlib.new(name) for name in {"sha256", self._algorithm}}
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK):
            for digest in self._digests.values():
                digest.update(chunk)


class _Page(html.parser.HTMLParser):
    """The title of a web page, and the form of Google Drive's page about virus scans."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.action, self.fields, self._title, self._tag = "", {}, "", ""
        self._text = data.decode("utf-8", "replace")
        self.feed(self._text)

    def __str__(self) -> str:
        if "scan this file for viruses" in self._text:
            return "Google Drive's page \"can't scan this file for viruses\""
        title = " ".join(self._title.split())[:80]
        return f'the web page "{title}"' if title else "a web page"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values, self._tag = dict(attrs), tag
        if tag == "form" and values.get("id") == "download-form":
            self.action = values.get("action") or ""
        elif tag == "input" and self.action and values.get("name"):
            self.fields[values["name"]] = values.get("value") or ""

    def handle_data(self, data: str) -> None:
        self._title += data if self._tag == "title" else ""

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""


def describe_page(path: pathlib.Path) -> str | None:
    """Which web page a file is, such as "Google Drive's page ..."; None if it is none."""
    with path.open("rb") as file:
        data = file.read(_LARGEST_PAGE)
    return str(_Page(data)) if data.lstrip()[:1] == b"<" else None


def _cause(error: Exception) -> str:
    """The innermost reason, in one short line."""
    while isinstance(inner := getattr(error, "reason", None) or next(iter(error.args), None), Exception):
        error = inner
    text = inner if isinstance(inner, str) else str(error)
    return clients.shorten(text.rpartition("): ")[2] or type(error).__name__)
