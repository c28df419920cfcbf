// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/isolator"
	"github.com/rkt/rkt/v2/pkg/profile"
)

// Text writes the report for people: a block for the pod and one for each app,
// one setting a line, "name: value [origin]".
func (r *Report) Text(w io.Writer) error {
	t := &text{words: r.originWords()}
	t.pod(r)
	for i := range r.Apps {
		t.app(&r.Apps[i])
	}
	_, err := io.WriteString(w, t.b.String())
	return err
}

// originWords are the origins as a person would call them.
func (r *Report) originWords() map[Origin]string {
	user := map[Subject]string{OfPod: "flag or pod manifest", OfFlags: "flag", OfManifest: "pod manifest or flag"}
	return map[Origin]string{
		FromUser: user[r.subject], FromInsecure: "--insecure-options", FromHost: "host limit", FromCaller: "caller of rkt",
		FromUnknown: "not recorded",
	}
}

type text struct {
	b     strings.Builder
	words map[Origin]string
}

func (t *text) origin(o Origin) string {
	if w, ok := t.words[o]; ok {
		return w
	}
	return string(o)
}

func (t *text) head(format string, args ...any) { t.b.WriteString(fmt.Sprintf(format, args...) + "\n") }

// row writes a setting; details follow in parentheses.
func (t *text) row(name, value string, o Origin, details ...string) {
	t.b.WriteString("  " + name + ": " + value)
	for _, d := range details {
		if d != "" {
			t.b.WriteString(" (" + clean(d) + ")")
		}
	}
	if o != "" {
		t.b.WriteString(" [" + t.origin(o) + "]")
	}
	t.b.WriteByte('\n')
}

func (t *text) pod(r *Report) {
	if r.Pod.UUID == "" {
		t.head("pod (not made)")
	} else {
		t.head("pod %s (%s)", r.Pod.UUID, r.Pod.State)
	}
	for _, s := range r.Refusals {
		t.row("would not start", clean(s), "")
	}
	for _, s := range r.Warnings {
		t.row("note", clean(s), "")
	}
	s := &r.Stage1
	flavor := s.Flavor
	if !s.Known {
		flavor += ", not one that this rkt knows"
	}
	t.row("stage1", word(versioned(s.Name, s.Version)), "", "flavor "+flavor, "interface version "+strconv.Itoa(s.InterfaceVersion))
	t.row("stage1 image", orUnknown(s.ImageID), "", s.From)
	t.row("stage1 verification", s.Verification.Status, "", s.Verification.Detail)
	insecure := "unknown"
	if r.InsecureOptions.Run != nil {
		insecure = words(r.InsecureOptions.Run)
	}
	t.row("insecure options", insecure, "")
	if f := r.InsecureOptions.Fetch; f != nil {
		t.row("insecure options for fetching", words(f), "")
	}
	t.row("host", r.Host.Cgroups+" cgroups", "", controllers(r.Host.Controllers))
	for _, n := range r.Namespaces {
		t.row(n.Name+" namespace", ownerOf(n), n.Origin)
	}
	u := r.UserNamespace
	if u.On && u.Count != 0 {
		u.Detail = fmt.Sprintf("users 0 to %d of the pod are %d to %d of the host", u.Count-1, u.First, uint64(u.First)+uint64(u.Count)-1)
	}
	t.row("user IDs", map[bool]string{true: "mapped", false: "those of the host"}[u.On], u.Origin, u.Detail)
	t.network(&r.Network)
	if r.HostName.Value == "" {
		t.row("host name", r.HostName.Detail, r.HostName.Origin)
	} else {
		t.row("host name", word(r.HostName.Value), r.HostName.Origin, r.HostName.Detail)
	}
	for _, k := range r.KernelParameters {
		t.row("kernel parameter", word(k.Name)+" = "+word(k.Value), k.Origin)
	}
	t.limits(r.Limits)
}

func (t *text) network(n *Network) {
	asked := ""
	if n.Asked != "" {
		asked = "--net=" + n.Asked
	}
	t.row("network", n.Gives, n.Origin, n.Detail, asked)
	for _, i := range n.Interfaces {
		t.row("interface", word(i.Name), "", "network "+i.Network, i.IP)
	}
	for _, p := range n.Ports {
		t.row("port", word(p.Name), FromUser, fmt.Sprintf("host %s port %d", orAny(p.HostIP), p.HostPort))
	}
}

func orAny(ip string) string {
	if ip == "" {
		return "0.0.0.0"
	}
	return ip
}

func ownerOf(n Namespace) string {
	switch {
	case n.Own == nil:
		return "unknown"
	case *n.Own:
		return "its own, of the " + n.Of
	}
	return "the host's"
}

func controllers(have map[string]int) string {
	var all []string
	for _, k := range []string{"memory", "cpu", "pids", "io"} {
		v := "not available"
		if n := have[k]; n != 0 {
			v = "v" + strconv.Itoa(n)
		}
		all = append(all, k+" "+v)
	}
	return strings.Join(all, ", ")
}

func (t *text) app(a *App) {
	t.head("app %s", a.Name)
	for _, d := range a.Differences {
		t.row("DIFFERENCE in "+clean(d.Setting), "planned "+clean(d.Plan)+", but "+clean(d.Actual), "", "seen in the "+d.Seen)
	}
	docker := ""
	if a.Image.Docker {
		docker = "converted from docker or OCI"
	}
	t.row("image", word(versioned(a.Image.Name, a.Image.Version)), "", docker)
	t.row("image ID", a.Image.ID, "")
	t.row("image verification", a.Image.Verification.Status, "", a.Image.Verification.Detail)
	t.program(&a.Program)
	t.user(&a.User)
	t.row("working directory", word(a.WorkingDirectory.Value), a.WorkingDirectory.Origin)
	t.capabilities(&a.Capabilities)
	t.row("no new privileges", onOff(a.NoNewPrivileges.On), a.NoNewPrivileges.Origin, a.NoNewPrivileges.Detail)
	t.seccomp(&a.Seccomp)
	t.row("root file system", writable(a.Root.ReadOnly.On), a.Root.ReadOnly.Origin, a.Root.Kind)
	for _, m := range a.Mounts {
		t.mount(m)
	}
	t.masks(&a.Masks)
	t.devices(&a.Devices)
	t.limits(a.Limits)
	t.rlimits(a.Rlimits)
	score := "none of its own"
	if v := a.OOMScoreAdj.Value; v != nil {
		score = strconv.FormatInt(*v, 10)
	}
	t.row("OOM score adjustment", score, a.OOMScoreAdj.Origin)
	for _, s := range a.Streams {
		t.row(s.Name, s.Mode, s.Origin)
	}
	if a.SELinux != nil {
		t.row("SELinux context", word(a.SELinux.Value), a.SELinux.Origin, a.SELinux.Detail)
	}
	if p := a.Process; p != nil {
		t.row("process", strconv.Itoa(p.PID), "", fmt.Sprintf("user %d, group %d, %d capabilities in use, system call filter: %s",
			p.UID, p.GID, len(p.Effective), p.Seccomp))
	}
}

func (t *text) program(p *Program) {
	name := ""
	args := p.Exec
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	file := ""
	if p.File != "" && p.File != name {
		file = "found as " + p.File
	}
	t.row("program", word(name), p.Origin, file, p.Detail)
	if len(args) > 0 {
		t.row("arguments", wordsText(args), p.ArgumentsOrigin)
	}
	for _, h := range p.PreStart {
		t.row("pre-start", wordsText(h), "", "as root of the pod")
	}
	for _, h := range p.PostStop {
		t.row("post-stop", wordsText(h), "", "as root of the pod")
	}
}

func (t *text) user(u *User) {
	t.row("user", identity(u.User, u.UID), u.Origin, u.Detail)
	t.row("group", identity(u.Group, u.GID), u.GroupOrigin)
	var groups []string
	for _, g := range u.Groups {
		groups = append(groups, strconv.Itoa(g))
	}
	t.row("supplementary groups", words(groups), u.GroupsOrigin)
}

func identity(asked string, id *int) string {
	switch {
	case id == nil:
		return word(asked)
	case asked == strconv.Itoa(*id):
		return asked
	}
	return fmt.Sprintf("%d, asked for as %s", *id, word(asked))
}

func (t *text) capabilities(c *Capabilities) {
	if c.Bounding == nil {
		t.row("capabilities", "not restricted", c.Origin)
		return
	}
	bounding := words(c.Bounding)
	if len(c.Bounding) == len(caps.All.Names()) {
		bounding = "all"
	}
	t.row("capabilities", bounding, c.Origin, plusMinus(c.Added, c.Removed, "the default set"))
	if len(c.Unavailable) > 0 {
		t.row("capabilities that cannot be had here", strings.Join(c.Unavailable, " "), FromHost)
	}
	if c.Effective != nil && len(c.Effective) == 0 && len(c.Bounding) > 0 {
		t.row("capabilities in use", "none: the user is not root", "")
	}
}

// plusMinus tells in words what is more and what is less than something.
func plusMinus(added, removed []string, base string) string {
	if len(added)+len(removed) == 0 {
		return base
	}
	var parts []string
	const most = 16 // more names than that say less than their number
	switch {
	case len(added) > most:
		parts = append(parts, fmt.Sprintf("with %d more", len(added)))
	case len(added) > 0:
		parts = append(parts, "with "+strings.Join(added, " "))
	}
	if len(removed) > 0 {
		parts = append(parts, "without "+strings.Join(removed, " "))
	}
	return base + " " + strings.Join(parts, " and ")
}

func (t *text) seccomp(s *Seccomp) {
	under := ""
	if s.PodFilter {
		under = "everything in the pod is under a wider one"
	}
	if !s.On {
		t.row("system call filter", "off", s.Origin, under)
		return
	}
	t.row("system call filter", fmt.Sprintf("on, %d calls allowed", s.Allowed), s.Origin, s.List+" list", under)
	t.row("denied calls", action(s.Denied), "", "unknown ones: "+action(s.Unknown))
	t.row("calls", plusMinus(s.Added, s.Removed, "the default list"), "")
	for _, r := range s.Rules {
		what := r.Refuse
		if what == "" {
			what = "always"
		}
		t.row("refused arguments", r.Call+": "+what, "", r.Answer)
	}
}

func action(answer string) string {
	switch answer {
	case "kill":
		return "kill the process"
	case "allow":
		return "allowed"
	}
	return "fail with " + answer
}

func (t *text) mount(m Mount) {
	details := []string{writable(m.ReadOnly)}
	if m.Recursive {
		details[0] += ", with what is mounted below"
	}
	switch {
	case m.Present != nil && !*m.Present && m.Optional:
		details[0] += ", not here"
	case m.Present == nil && m.Optional:
		details[0] += ", where there is one"
	}
	what := map[string]string{MountHost: "host", MountEmpty: "empty volume", MountImplicit: "implicit empty volume", MountSystem: "system"}[m.Kind]
	source := word(m.Source)
	if m.Kind == MountSystem {
		source = clean(m.Source)
	}
	t.row("mount", word(m.Target)+" from "+source, m.Origin, what, details[0])
}

func (t *text) masks(m *Masks) {
	if !m.On {
		t.row("masked paths", "none", m.Origin)
		return
	}
	t.row("read-only paths", wordsText(m.ReadOnly), m.Origin)
	t.row("hidden paths", wordsText(m.Hidden), m.Origin)
	if len(m.Absent) > 0 {
		t.row("not there at all", wordsText(m.Absent), "")
	}
}

func (t *text) devices(d *Devices) {
	if !d.Restricted {
		t.row("devices", "not restricted", d.Origin)
		return
	}
	var all []string
	for _, r := range d.Rules {
		name := r.Name
		if name == "" {
			name = r.Device
		}
		all = append(all, name+" "+r.Access)
	}
	t.row("devices", strings.Join(all, ", "), d.Origin, d.By)
}

func (t *text) limits(all []Limit) {
	for _, l := range all {
		if l.Limit == nil && l.Request == nil {
			t.row(l.Name, "no limit", l.Origin)
			for _, f := range l.Files {
				if isLimiting(f) {
					t.row("  "+clean(f.Path), clean(f.Value), "")
				}
			}
			continue
		}
		value := "no limit"
		if l.Limit != nil {
			value = strconv.FormatInt(*l.Limit, 10) + " " + l.Unit
		}
		request := ""
		if l.Request != nil && (l.Limit == nil || *l.Request != *l.Limit) {
			request = "request: " + strconv.FormatInt(*l.Request, 10)
		}
		by := "enforced by " + l.By
		switch l.Missing {
		case MissingRefused:
			by = "this host cannot: the pod does not start"
		case MissingSkipped:
			by = "this host cannot: skipped with a warning"
		}
		t.row(l.Name, value, l.Origin, request, by)
		for _, f := range l.Files {
			t.row("  "+clean(f.Path), clean(f.Value), "")
		}
	}
}

// isLimiting tells whether a control file is one that limits although nobody has
// asked for it, as the group above may do.
func isLimiting(f ControlFile) bool {
	switch path.Base(f.Path) {
	case "memory.max", "memory.limit_in_bytes", "pids.max", "cpu.max", "cpu.cfs_quota_us":
	default:
		return false
	}
	const most = 1 << 62 // what v1 shows for no limit is above
	n, err := strconv.ParseInt(f.Value, 10, 64)
	none := strings.HasPrefix(f.Value, "max") || err == nil && (n < 0 || n > most)
	return !none
}

func (t *text) rlimits(all []Rlimit) {
	inherited := 0
	for _, r := range all {
		if r.Origin == FromCaller {
			inherited++
			continue
		}
		t.row("rlimit "+r.Name, rlimitText(profile.Rlimit{Cur: uint64(r.Soft), Max: uint64(r.Hard)}), r.Origin, r.Detail)
	}
	if inherited > 0 {
		t.row("other rlimits", inheritedText(all), FromCaller)
	}
}

func inheritedText(all []Rlimit) string {
	var words []string
	for _, r := range all {
		if r.Origin != FromCaller {
			continue
		}
		s := r.Name + "=" + rlimitWord(uint64(r.Soft))
		if r.Hard != r.Soft {
			s += ":" + rlimitWord(uint64(r.Hard))
		}
		if r.Soft != appc.RlimitValue(isolator.Unlimited) || r.Hard != r.Soft {
			words = append(words, s)
		}
	}
	if len(words) == 0 {
		return "unlimited"
	}
	return strings.Join(words, " ") + ", the rest unlimited"
}

func versioned(name, version string) string {
	if version == "" {
		return name
	}
	return name + ":" + version
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return clean(s)
}

func words(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, " ")
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func writable(readOnly bool) string {
	if readOnly {
		return "read-only"
	}
	return "writable"
}

// word is a string of a manifest as one word that cannot disturb a terminal.
func word(s string) string {
	plain := s != ""
	for _, r := range s {
		plain = plain && strconv.IsPrint(r) && r != ' ' && !strings.ContainsRune(`"'\()[]`, r)
	}
	if plain {
		return s
	}
	return strconv.Quote(s)
}

// clean is text that has words of others in it, on one line.
func clean(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		q := strconv.QuoteRune(r)
		b.WriteString(q[1 : len(q)-1])
	}
	return b.String()
}
