// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/cgroup"
	"github.com/rkt/rkt/v2/pkg/podplan"
	"github.com/rkt/rkt/v2/pkg/profile"
	"github.com/rkt/rkt/v2/pkg/seccomp"
)

// differ notes a difference.
func (x *appBuilder) differ(seen, setting, plan, actual string) {
	x.out.Differences = append(x.out.Differences, Difference{Setting: setting, Plan: plan, Actual: actual, Seen: seen})
}

// compareRecord compares the plan with the record and goes on with what was
// recorded: that is what the app was started with.
func (x *appBuilder) compareRecord() {
	r := x.known.Record
	if r == nil {
		return
	}
	differ := func(setting, plan, actual string) {
		if plan != actual {
			x.differ(SeenRecord, setting, plan, actual)
		}
	}
	recorded := r.Bounding
	if recorded == nil && x.flavor.contained {
		all := caps.All
		recorded = &all
	}
	differ("capabilities", setText(x.bounding), setText(recorded))
	x.bounding = recorded
	if !sameFilter(x.filter, r.Seccomp) {
		differ("seccomp", filterText(x.filter), filterText(r.Seccomp)+" (another one)")
	}
	on, _ := x.a.NoNewPrivs(r.UID)
	differ("noNewPrivileges", strconv.FormatBool(on), strconv.FormatBool(r.NoNewPrivs))
	x.filter = r.Seccomp
	differ("oomScoreAdj", scoreText(x.a), numberText(r.OOMScoreAdj))
	for _, l := range x.a.Limits.Rlimits {
		if l.Resource < len(r.Rlimits) {
			differ("rlimits."+l.Name, rlimitText(profile.Rlimit{Cur: l.Soft, Max: l.Hard}), rlimitText(r.Rlimits[l.Resource]))
		}
	}
	for what, pair := range map[string]struct {
		asked  string
		actual int
	}{"user": {x.a.App.User, r.UID}, "group": {x.a.App.Group, r.GID}} {
		if n, err := strconv.ParseUint(pair.asked, 10, 32); err == nil {
			differ(what, strconv.FormatUint(n, 10), strconv.Itoa(pair.actual))
		}
	}
	if r.Start != nil {
		x.compareStart(r.Start, differ)
	}
}

// compareStart compares what only a start inside a pod has.
func (x *appBuilder) compareStart(s *profile.Start, differ func(setting, plan, actual string)) {
	if len(s.Exec) > 0 {
		differ("program.arguments", wordsText(x.a.App.Exec[1:]), wordsText(s.Exec[1:]))
	}
	differ("workingDirectory", x.a.WorkDir(), s.WorkDir)
	differ("root.readOnly", strconv.FormatBool(x.a.Runtime.ReadOnlyRootFS), strconv.FormatBool(s.ReadOnly))
	x.a.Runtime.ReadOnlyRootFS = s.ReadOnly
	var planned []string
	for _, m := range x.a.Streams {
		planned = append(planned, string(m))
	}
	differ("streams", wordsText(planned), wordsText(s.Streams))
	if s.HostPaths {
		differ("masks", masksText(x.a.Masks), masksText(nil))
		x.a.Masks = nil
		return
	}
	recorded := &podplan.Masks{ReadOnly: s.ReadOnlyPaths, Inaccessible: s.HiddenPaths}
	differ("masks", masksText(x.a.Masks), masksText(recorded))
	x.a.Masks = recorded
}

func setText(s *caps.Set) string {
	switch {
	case s == nil:
		return "as with who starts the app"
	case *s == caps.All:
		return "all"
	case *s == 0:
		return "none"
	}
	return s.String()
}

func filterText(p *seccomp.Policy) string {
	if p == nil || p.Unfiltered {
		return "no filter"
	}
	return fmt.Sprintf("a filter that allows %d calls", len(p.Allowed()))
}

func sameFilter(a, b *seccomp.Policy) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return a.Mode == b.Mode && a.Errno == b.Errno && a.Unknown == b.Unknown && a.Unfiltered == b.Unfiltered &&
		slices.Equal(a.Calls, b.Calls) && slices.Equal(a.Guarded, b.Guarded)
}

func scoreText(a *podplan.App) string {
	if o := a.Limits.OOMScoreAdj; o != nil {
		return numberText(&o.Value)
	}
	return numberText(nil)
}

func numberText(n *int64) string {
	if n == nil {
		return "none"
	}
	return strconv.FormatInt(*n, 10)
}

func wordsText(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = word(w)
	}
	return strings.Join(quoted, " ")
}

func masksText(m *podplan.Masks) string {
	if m == nil {
		return "none"
	}
	return "read-only " + wordsText(m.ReadOnly) + "; hidden " + wordsText(m.Inaccessible)
}

// compareProcess compares what the app was started with with what the kernel
// says. What an app may do to itself, such as giving up a capability, is no
// difference: only what is looser is, and values nobody but root can change.
func (x *appBuilder) compareProcess() {
	p := x.known.Process
	if p == nil {
		return
	}
	x.out.Process = p.info(x.shift)
	differ := func(setting, plan, actual string) { x.differ(SeenProcess, setting, plan, actual) }
	if x.bounding != nil {
		if more := p.Bounding & caps.All &^ *x.bounding; more != 0 {
			differ("capabilities", setText(x.bounding), "also "+more.String())
		}
		// The host, a user namespace or the app itself has taken them away.
		if less := *x.bounding &^ p.Bounding; less != 0 {
			differ("capabilities", setText(x.bounding), "without "+less.String())
		}
	}
	if x.out.NoNewPrivileges.On && !p.NoNewPrivs {
		differ("noNewPrivileges", "true", "false")
	}
	if (x.out.Seccomp.On || x.out.Seccomp.PodFilter) && p.Seccomp != seccompFilter {
		differ("seccomp", "a filter", "no filter")
	}
	if v := x.out.OOMScoreAdj.Value; v != nil && *v != p.OOMScoreAdj {
		differ("oomScoreAdj", numberText(v), numberText(&p.OOMScoreAdj))
	}
	for i, r := range x.out.Rlimits {
		n := slices.Index(rlimitNames[:], r.Name)
		if n < len(p.Rlimits) && p.Rlimits[n].Max > uint64(r.Hard) {
			differ("rlimits."+x.out.Rlimits[i].Name, rlimitWord(uint64(r.Hard)), rlimitWord(p.Rlimits[n].Max))
		}
	}
	x.compareNamespaces(p, differ)
	x.compareMounts(p, differ)
	x.compareMasks(p, differ)
	for _, l := range x.out.Limits {
		compareLimit(l, differ)
	}
}

func (x *appBuilder) compareNamespaces(p *Process, differ func(setting, plan, actual string)) {
	files := namespaceFiles()
	owner := map[bool]string{true: "its own", false: "the host's"}
	for _, n := range x.r.Namespaces {
		own, ok := p.OwnNamespaces[files[n.Name]]
		if ok && n.Own != nil && *n.Own != own {
			differ("namespaces."+n.Name, owner[*n.Own], owner[own])
		}
	}
}

func (x *appBuilder) compareMounts(p *Process, differ func(setting, plan, actual string)) {
	for i := range x.out.Mounts {
		m := &x.out.Mounts[i]
		resolved, err := p.Resolve(m.Target)
		at, mounted := p.Mounts[resolved]
		mounted = mounted && err == nil
		m.Present = &mounted
		switch {
		case !mounted && !m.Optional:
			differ("mounts."+m.Target, "mounted", "nothing is mounted there")
		case mounted && m.ReadOnly && !at.ReadOnly:
			differ("mounts."+m.Target, "read-only", "writable")
		}
	}
	if at, ok := p.Mounts["/"]; ok && x.out.Root.ReadOnly.On && !at.ReadOnly {
		differ("root.readOnly", "true", "false")
	}
}

func (x *appBuilder) compareMasks(p *Process, differ func(setting, plan, actual string)) {
	for _, name := range x.out.Masks.ReadOnly {
		if at, ok := p.Mounts[name]; p.Exists(name) && (!ok || !at.ReadOnly) {
			differ("masks."+name, "read-only", "writable")
		}
	}
	for _, name := range x.out.Masks.Hidden {
		if _, ok := p.Mounts[name]; p.Exists(name) && !ok {
			differ("masks."+name, "hidden", "visible")
		}
	}
}

// pageSize is the grain of memory limits.
const pageSize = 4096

// compareLimit compares a limit with the control files of the app's cgroup.
func compareLimit(l Limit, differ func(setting, plan, actual string)) {
	if l.Limit == nil || l.By == "" {
		return
	}
	want := *l.Limit
	value := map[string]string{}
	for _, f := range l.Files {
		value[path.Base(f.Path)] = f.Value
	}
	number := func(name string) (int64, bool) {
		v, ok := value[name]
		n, err := strconv.ParseInt(v, 10, 64)
		return n, ok && err == nil
	}
	is := func(name string, ok func(int64) bool) {
		text, there := value[name]
		if n, isNumber := number(name); there && (!isNumber || !ok(n)) {
			differ("limits."+l.Name, strconv.FormatInt(want, 10), name+" is "+text)
		}
	}
	exactly := func(w int64) func(int64) bool { return func(n int64) bool { return n == w } }
	pages := func(n int64) bool { return n <= want && want-n < pageSize }
	switch l.Name {
	case "memory":
		is("memory.limit_in_bytes", pages)
		is("memory.max", pages)
	case "cpu":
		period, _ := number("cpu.cfs_period_us")
		is("cpu.cfs_quota_us", func(quota int64) bool { return isQuota(quota, period, want) })
		if v, ok := value["cpu.max"]; ok && !isCPUMax(v, want) {
			differ("limits.cpu", strconv.FormatInt(want, 10), "cpu.max is "+v)
		}
	case "cpu-shares":
		is("cpu.shares", exactly(want))
		is("cpu.weight", exactly(cgroup.Weight(want)))
	case "pids":
		is("pids.max", exactly(want))
	}
}

// isCPUMax tells whether "QUOTA PERIOD" is so many thousandths of a core.
func isCPUMax(value string, want int64) bool {
	q, p, _ := strings.Cut(value, " ")
	quota, err1 := strconv.ParseInt(q, 10, 64)
	period, err2 := strconv.ParseInt(p, 10, 64)
	return err1 == nil && err2 == nil && isQuota(quota, period, want)
}

// isQuota allows for rounding to a thousandth of a core.
func isQuota(quota, period, want int64) bool {
	const most = 1 << 40 // so that nothing overflows
	if quota <= 0 || period <= 0 || quota > most || period > most/1000 || want > most/1000 {
		return false
	}
	d := quota*1000 - want*period
	return -period <= d && d <= period
}
