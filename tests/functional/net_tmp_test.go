//go:build functional

package functional

import ("testing";"time")

func TestTmp(t *testing.T) {
	s := time.Now()
	step := func(n string) { t.Log(n, time.Since(s).Round(time.Millisecond)); s = time.Now() }
	l := newNetLab(t)
	step("lab")
	p := l.launch("one", nil)
	l.ready(p)
	step("first")
	q := l.launch("two", nil)
	l.ready(q)
	step("second")
	l.Run("stop", "--force", p.UUID)
	step("stop force")
	p.Wait()
	step("wait")
	l.OK("rm", p.UUID)
	step("rm")
	l.Run("stop", q.UUID)
	step("stop")
	q.Wait()
	step("wait")
	l.Run("gc", "--grace-period=0s")
	step("gc")
}
