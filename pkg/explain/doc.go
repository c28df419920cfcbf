// SPDX-License-Identifier: Apache-2.0

// Package explain tells what holds the apps of a pod, and why: a Report with
// every setting, its value and its origin, as plain data that is printed as
// JSON or as text.
//
// Words: the plan is what manifests and flags lead to (package podplan), the
// record is what stage1 wrote down when it started the app (package profile),
// the process is what the kernel says of the running app. The origin of a
// setting is who has decided it. A difference is a setting in which record or
// process hold the app to less than, or to something else than, the plan.
//
// A setting of the report is the strongest that is known: the record's if
// there is one, the plan's otherwise. What the process says is reported as
// differences, and where nothing else knows: namespaces, values of control
// files.
//
// The package is pure. Whoever calls it reads manifests, records and processes
// and puts them into an Input. What each flavor of stage1 does with a plan is in
// one table, flavors; of a stage1 that is not in it the report says so.
//
// Everything in an Input may come from a hostile image or app: the text form
// quotes what could disturb a terminal.
//
//	r, err := explain.New(explain.Input{…})
//	err = r.Text(os.Stdout)
//
// The form of the JSON is a contract, docs/explain.md.
package explain
