// SPDX-License-Identifier: Apache-2.0

//go:build vm

package checks

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// journal are entries of the host's journal.
func (h *host) journal(args ...string) (entries []map[string]any) {
	h.t.Helper()
	h.tool("journalctl", "--sync")
	out := h.tool("journalctl", append([]string{"-o", "json", "--no-pager", "-q", "--all"}, args...)...)
	for line := range strings.Lines(out) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			h.t.Fatalf("%q: %v", line, err)
		}
		entries = append(entries, e)
	}
	return entries
}

// messages are those of the entries that a match finds.
func (h *host) messages(args ...string) string {
	h.t.Helper()
	var all []string
	for _, e := range h.journal(args...) {
		all = append(all, fmt.Sprint(e["MESSAGE"]))
	}
	return strings.Join(all, "\n")
}

// unitJournal: the lines of the apps of a unit are entries of the unit's in the
// host's journal, and say which pod and app they are of.
func (h *host) unitJournal() {
	const big = 40000
	script := "echo to stdout; echo to stderr >&2; head -c " + fmt.Sprint(big) + " /dev/zero | tr '\\0' x; echo; exec sleep 1020"
	h.unitFile("journaled", "Type=notify\n", h.one(script)...)
	uuid := h.active("journaled")
	h.runs("sleep", "1020")
	for stream, want := range map[string]string{"stdout": "to stdout\n" + strings.Repeat("x", big), "stderr": "to stderr"} {
		got := ""
		eventually(h.t, "lines of "+stream, func() bool {
			got = h.messages("-u", "journaled", "RKT_POD_UUID="+uuid, "RKT_APP=app", "RKT_STREAM="+stream)
			return len(got) >= len(want)
		})
		if got != want {
			h.t.Errorf("%s: %.200q", stream, got)
		}
	}
	for _, e := range h.journal("-t", "app", "RKT_POD_UUID="+uuid) {
		if e["_SYSTEMD_UNIT"] != "journaled.service" || e["PRIORITY"] != "6" || e["_TRANSPORT"] != "journal" {
			h.t.Errorf("%.300v", e)
		}
	}
	h.journaldAway("journaled", uuid)
	h.stopped("journaled")
	h.collect()
	h.plainOutput()
}

// journaldAway: without the native socket the lines arrive the other way, and
// when journald has been killed, too.
func (h *host) journaldAway(unit, uuid string) {
	h.t.Helper()
	say := func(text string) {
		h.OK("enter", uuid, "/bin/sh", "-c", "echo "+text+" >/proc/$(pidof sleep | awk '{print $NF}')/fd/1")
	}
	const socket = "/run/systemd/journal/socket"
	if err := os.Rename(socket, socket+".away"); err != nil {
		h.t.Fatal(err)
	}
	say("over the connection")
	if err := os.Rename(socket+".away", socket); err != nil {
		h.t.Fatal(err)
	}
	h.tool("systemctl", "kill", "--signal=KILL", "systemd-journald")
	say("while journald is dead")
	eventually(h.t, "journald is back", func() bool { return h.property("systemd-journald", "ActiveState") == "active" })
	say("when it is back")
	for _, want := range []string{"over the connection", "while journald is dead", "when it is back"} {
		eventually(h.t, want+" is in the journal", func() bool { return strings.Contains(h.messages("-u", unit), want) })
	}
}

// plainOutput: a unit whose output goes elsewhere gets it there.
func (h *host) plainOutput() {
	h.t.Helper()
	file := h.dir + "/output"
	h.unitFile("tofile", "Type=notify\nStandardOutput=file:"+file+"\n", h.one("echo into the file; exec sleep 1021")...)
	uuid := h.active("tofile")
	h.runs("sleep", "1021")
	eventually(h.t, "the line is in the file", func() bool { b, _ := os.ReadFile(file); return strings.Contains(string(b), "]: into the file\n") })
	h.stopped("tofile")
	if got := h.messages("RKT_POD_UUID=" + uuid); got != "" {
		h.t.Errorf("in the journal, too: %q", got)
	}
	h.collect()
}

// podJournal: the journal of the pod itself, seen from the host: while it runs,
// and afterwards by a link, until gc.
func (h *host) podJournal() {
	p := h.start(h.one("echo ready; echo from the pod; exec sleep 1022")...)
	machine := strings.ReplaceAll(p.UUID, "-", "")
	eventually(h.t, "journalctl -M shows the line", func() bool {
		return strings.Contains(h.tool("journalctl", "--no-pager", "-q", "-M", "rkt-"+p.UUID, "-t", "app"), "from the pod")
	})
	link := filepath.Join("/var/log/journal", machine)
	to, err := os.Readlink(link)
	if want := filepath.Join(h.PodDir(p.UUID), "stage1/rootfs/var/log/journal", machine); err != nil || to != want {
		h.t.Errorf("the link of the journal: %q, want %q, %v", to, want, err)
	}
	h.OK("stop", p.UUID)
	p.Wait()
	if got := h.OK("logs", "-o", "cat", p.UUID); !strings.Contains(got, "from the pod") {
		h.t.Errorf("rkt logs: %q", got)
	}
	if _, err := os.Lstat(link); err != nil {
		h.t.Errorf("after the end of the pod: %v", err)
	}
	h.collect()
	if _, err := os.Lstat(link); err == nil {
		h.t.Errorf("after gc there is %s", link)
	}
}
