"""`python tests/bench/compare.py OLD.json NEW.json`: the speedup of the new run.

Divided by how many times as fast the machine was: where the work is in the networks, compare that column only.
"""

import argparse
import json
import pathlib

import harness


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=pathlib.Path)
    parser.add_argument("new", type=pathlib.Path)
    arguments = parser.parse_args()
    old, new = (json.loads(path.read_text()) for path in (arguments.old, arguments.new))
    for bench in [name for name in new if name in old]:
        print(f"{bench}: {old[bench]['measured']['commit']} -> {new[bench]['measured']['commit']}")
        before, after = old[bench]["parts"], new[bench]["parts"]
        if not before.keys() >= set(harness.CEILING) <= after.keys():
            print("  without the machine's ceiling: not compared")
            continue
        ceilings = [before[name]["ms"] / after[name]["ms"] for name in harness.CEILING]
        machine = sum(ceilings) / len(ceilings)
        for name in [name for name in after if name in before]:
            faster = before[name]["ms"] / after[name]["ms"]
            print(
                f"  {name:34} {before[name]['ms']:9.2f} -> {after[name]['ms']:9.2f} ms a {after[name]['unit']:5}"
                f"  x{faster:.2f}, against the ceiling x{faster / machine:.2f}"
            )
    for name in sorted(set(old) ^ set(new)):
        print(f"{name}: in one of the two only")


if __name__ == "__main__":
    main()
