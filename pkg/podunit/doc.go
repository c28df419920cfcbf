// SPDX-License-Identifier: Apache-2.0

// Package podunit turns declarations of pods, files NAME.pod, into services of
// systemd. It is what the generator, `rkt unit` and docs/pods.d.md go by.
//
// Words: a source is a file NAME.pod in one of the directories, with its
// drop-ins; a declaration is what they say together; an argument is a flag or
// an image of `rkt run` together with the place it comes from.
//
// Invariants: every key stands for one flag of `rkt run`, or for the service,
// and the table Keys is the only list of them. A declaration with a problem
// becomes a service that fails at its start with the problems as its reason: it
// is never left out and never started in part. No value reaches a shell, and
// none but those in [Unit], [Service], [Socket] and [Install] can add a
// directive.
//
//	sources, problems := podunit.Find(dirs)
//	for _, s := range sources {
//		d := s.Read()
//		fmt.Print(d.Service(podunit.Host{Rkt: "/usr/bin/rkt"}))
//	}
//
// Source: spec services.md 4.3 to 4.5 and 6, systemd.unit(5),
// systemd.generator(7).
package podunit
