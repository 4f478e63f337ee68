"""The file of results: every run of every case as one record, and what was true of them all.

    {"machine": {...}, "versions": {package: version},
     "cases": {case: {"at", "revision", "quick", "took_s", "complete"}},
     "runs": [{"case", "system", "receivers", "seconds", ...}, ...]}

Written after every run, so that nothing measured is lost. A case run again replaces what the
file held for the same case, system and number of receivers; all else stays.
"""

import json
import os
import statistics
import time


class Results:
    def __init__(self, path):
        self.path = path
        self.doc = {"machine": {}, "versions": {}, "cases": {}, "runs": []}
        if path.exists():
            self.doc.update(json.loads(path.read_text()))
        self.fresh = set()   # what this process has measured: not replaced, but added to

    def save(self):
        """One line a run: it can be read, and compared by git."""
        head = {key: value for key, value in self.doc.items() if key != "runs"}
        runs = ",\n".join("  " + json.dumps(run) for run in self.doc["runs"])
        text = json.dumps(head, indent=1)[:-2] + ',\n "runs": [\n' + runs + "\n ]\n}\n"
        part = self.path.with_suffix(".part")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text)
        os.replace(part, self.path)

    def describe(self, machine, versions):
        self.doc["machine"] = machine
        self.doc["versions"].update(versions)
        self.save()

    def begin(self, case, revision, quick):
        self.doc["cases"][case] = {"at": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
                                   "revision": revision, "quick": quick, "complete": False}
        self.save()

    def end(self, case, took_s):
        self.doc["cases"][case].update(took_s=round(took_s), complete=True)
        self.save()

    def is_complete(self, case):
        return self.doc["cases"].get(case, {}).get("complete", False)

    def add(self, case, system, receivers=1, **figures):
        key = (case, system, receivers)
        if key not in self.fresh:
            self.fresh.add(key)
            self.doc["runs"] = [r for r in self.doc["runs"] if _key(r) != key]
        run = {"case": case, "system": system, "receivers": receivers}
        run.update((k, round(v, 5) if isinstance(v, float) else v) for k, v in figures.items())
        self.doc["runs"].append(run)
        self.save()
        return run

    # --- reading ---

    def runs(self, case, system=None, receivers=None):
        return [r for r in self.doc["runs"] if r["case"] == case and
                system in (None, r["system"]) and receivers in (None, r["receivers"])]

    def systems(self, case):
        """In the order in which they were first measured."""
        return list(dict.fromkeys(r["system"] for r in self.runs(case)))

    def receivers(self, case, system):
        return sorted({r["receivers"] for r in self.runs(case, system)})

    def values(self, case, system, figure, receivers=None):
        """Of the runs that came to an end."""
        found = (r.get(figure) for r in self.runs(case, system, receivers))
        return [v for v in found if v is not None]

    def median(self, case, system, figure, receivers=None):
        """None: not measured."""
        found = self.values(case, system, figure, receivers)
        return statistics.median(found) if found else None


def _key(run):
    return run["case"], run["system"], run["receivers"]
