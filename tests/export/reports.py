"""Reads what `fomm export` prints and writes into report.md."""


def cells(text: str) -> list[list[str]]:
    """The rows of a text's tables."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]


def worst(text: str) -> dict[str, float]:
    """stage.output -> the first variant's largest difference from the Keras networks."""
    return {row[0]: float(row[1]) for row in cells(text) if "." in row[0] and ".tflite" not in row[0]}
