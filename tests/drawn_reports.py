"""Reports of evaluations with drawn numbers."""

import random

METRICS = ("l1", "psnr", "ssim")


def draw_reports(seed, shift=0.0, videos=12, found=True):
    """Reports as evaluations write them: a shifted variant is worse in every metric."""
    rng = random.Random(seed)

    def evaluation(metrics):
        results = []
        for number in range(videos):
            frames = 5 + number % 3
            hard = 0.05 + 0.01 * number
            model = {
                name: {"total": frames * (hard + shift * (1 if name == "l1" else -1) + rng.uniform(0, 0.004)),
                       "frames": frames, "missing": 0}
                for name in metrics
            }  # fmt: skip
            baseline = {name: {"total": frames * 0.3, "frames": frames, "missing": 0} for name in metrics}
            results.append({"name": f"clip{number}", "frames": frames, "model": model, "source_copy": baseline})
        overall = {
            name: {who: {"value": {"value": overall_of(results, name, who)}} for who in ("model", "source_copy")}
            for name in metrics
        }
        return {"overall": overall, "videos": results, "skipped": [], "detectors": ""}

    reports = {"reconstruction": evaluation(METRICS), "animation": evaluation(("l1",))}
    if not found:
        reports["reconstruction"]["overall"]["ssim"]["model"]["value"] = None
    return reports


def overall_of(videos, name, who="model"):
    return sum(one[who][name]["total"] for one in videos) / sum(one[who][name]["frames"] for one in videos)
