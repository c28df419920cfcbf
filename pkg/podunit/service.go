// SPDX-License-Identifier: Apache-2.0

package podunit

import (
	"strings"

	"github.com/rkt/rkt/v2/pkg/unit"
)

// Host is what services need to know of the host.
type Host struct {
	Rkt     string   // absolute path of the program
	Flags   []string // global flags of every call, literally: directories that are not the usual ones
	DataDir string   // where pods and images are, "" for the usual place
}

const defaultDataDir = "/var/lib/rkt"

// startTimeout is how long a pod may take until it is ready, downloads included.
const startTimeout = "15min"

// text writes sections.
type text struct{ strings.Builder }

func (t *text) section(name string) {
	if t.Len() > 0 {
		t.WriteByte('\n')
	}
	t.WriteString("[" + name + "]\n")
}

func (t *text) line(key, value string) { t.WriteString(key + "=" + value + "\n") }

func (t *text) entries(all []unit.Entry) {
	for _, e := range all {
		t.line(e.Key, e.Value)
	}
}

// Service is the text of the service. If the declaration has problems it is one
// that fails with them.
func (d *Declaration) Service(h Host) string {
	var t text
	t.WriteString("# Made by rkt from the file below. Change that, then run \"systemctl daemon-reload\".\n")
	if len(d.Problems) > 0 {
		d.failing(&t, h)
		return t.String()
	}
	d.unitSection(&t, h)
	t.section(sectionService)
	t.line("Type", d.serviceType())
	t.line("NotifyAccess", "main")
	t.line("ExecStart", unit.Command(d.command(h)))
	t.line("ExecStopPost", d.after(h))
	// The supervisor gets SIGTERM and ends the apps in order; what is left then is killed.
	t.line("KillMode", "mixed")
	t.line("Delegate", "yes")
	t.line("Slice", "machine.slice")
	t.line("SyslogIdentifier", "%N")
	t.line("RuntimeDirectory", runtimeDirectory)
	t.line("TimeoutStartSec", startTimeout)
	t.entries(d.service)
	return t.String()
}

func (d *Declaration) unitSection(t *text, h Host) {
	t.section(sectionUnit)
	t.line("Description", "Pod %N")
	t.line("SourcePath", unit.Literal(d.Source.Path))
	if d.pod.text(keyPull) != "never" {
		t.line("Wants", "network-online.target")
		t.line("After", "network-online.target")
	}
	dir := defaultDataDir
	switch own := d.pod.text(keyDir); {
	case own != "":
		dir = own
	case h.DataDir != "":
		dir = unit.Literal(h.DataDir)
	}
	t.line("RequiresMountsFor", quotedPath(dir))
	if d.listens {
		t.line("Requires", "%N.socket")
		t.line("After", "%N.socket")
	}
	t.entries(d.unit)
}

// serviceType: an app of fly is told of nothing to notify, so its service is up
// when rkt runs.
func (d *Declaration) serviceType() string {
	if d.pod.text(keyStage1) == stage1Fly {
		return "exec"
	}
	return "notify"
}

// command is the command line of the pod, with specifiers.
func (d *Declaration) command(h Host) []string {
	words := h.start()
	args := d.Arguments()
	for _, a := range args {
		if a.Global {
			words = append(words, a.Words...)
		}
	}
	words = append(words, "run")
	for _, a := range args {
		if !a.Global {
			words = append(words, a.Words...)
		}
	}
	return words
}

// after is what happens when the pod has ended, however it has. It is left for
// rkt status, rkt export and rkt gc unless the declaration says otherwise; what
// fails here is no failure of the service.
func (d *Declaration) after(h Host) string {
	words := h.start()
	if dir := d.pod.text(keyDir); dir != "" {
		words = append(words, "--dir="+dir)
	}
	if d.pod.text(keyRemove) == "true" {
		words = append(words, "rm", "--uuid-file="+d.uuidFile())
	} else {
		words = append(words, "gc", "--mark-only")
	}
	return "-" + unit.Command(words)
}

func (h Host) start() []string {
	words := []string{unit.Literal(h.Rkt)}
	for _, f := range h.Flags {
		words = append(words, unit.Literal(f))
	}
	return words
}

// failing writes a service that says what is wrong, every time it is started.
func (d *Declaration) failing(t *text, h Host) {
	t.section(sectionUnit)
	t.line("Description", "Pod %N, whose declaration is wrong")
	t.line("SourcePath", unit.Literal(d.Source.Path))
	t.section(sectionService)
	t.line("Type", "oneshot")
	words := append(h.start(), "unit", "refuse", "--")
	for i, p := range d.Problems {
		const most = 20
		if i == most {
			words = append(words, "and more")
			break
		}
		words = append(words, unit.Literal(clip(p.String())))
	}
	t.line("ExecStart", unit.Command(words))
	t.line("SyslogIdentifier", "%N")
}

// clip keeps a message that quotes a long line from making the unit too long.
func clip(s string) string {
	const most = 1000
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// Socket is the text of the socket unit, "" if the declaration has none or
// cannot be started.
func (d *Declaration) Socket() string {
	if !d.listens || len(d.Problems) > 0 {
		return ""
	}
	var t text
	t.section(sectionUnit)
	t.line("Description", "Sockets of pod %N")
	t.line("SourcePath", unit.Literal(d.Source.Path))
	t.line("PartOf", "%N.service")
	t.section(sectionSocket)
	t.line("BindIPv6Only", "both")
	t.entries(d.socket)
	return t.String()
}

// quotedPath is a path in a list of paths.
func quotedPath(s string) string {
	return strings.ReplaceAll(unit.Word(s), "$$", "$")
}
