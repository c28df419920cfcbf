// SPDX-License-Identifier: Apache-2.0

package front

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/rkt/rkt/v2/pkg/atomicfile"
)

const (
	defaultFlannelDir = "/var/lib/cni/flannel"
	defaultSubnetFile = "/run/flannel/subnet.env"
)

// flannel composes the configuration of another plugin, its delegate, from what
// flanneld wrote about the host, and calls that.
func (e Exec) flannel(ctx context.Context, conf object, env environment) ([]byte, error) {
	command := env.get(envCommand)
	if command == "STATUS" || command == "GC" {
		return nil, flannelStatus(command, conf)
	}
	id := env.get(envContainerID)
	if !containerID.MatchString(id) {
		return nil, fmt.Errorf("invalid container ID %q", id)
	}
	record := filepath.Join(e.flannelDir(conf), id)
	if command == "ADD" {
		return e.flannelAdd(ctx, conf, env, record)
	}
	stored, err := os.ReadFile(record)
	if errors.Is(err, fs.ErrNotExist) && command == "DEL" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read delegate of network: %w", err)
	}
	if command == "CHECK" {
		return e.flannelCheck(ctx, conf, env, stored)
	}
	if _, err := e.delegate(ctx, stored, env); err != nil {
		return nil, err
	}
	if err := os.Remove(record); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("forget delegate of network: %w", err)
	}
	return nil, nil
}

// containerID is what CNI allows for one, so it is a file name and not special.
var containerID = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$`)

func (e Exec) flannelDir(conf object) string {
	if dir := conf.text("dataDir"); dir != "" {
		return dir
	}
	if e.FlannelDir != "" {
		return e.FlannelDir
	}
	return defaultFlannelDir
}

func (e Exec) flannelAdd(ctx context.Context, conf object, env environment, record string) ([]byte, error) {
	subnet, err := readSubnet(conf)
	if err != nil {
		return nil, err
	}
	composed, err := compose(conf, subnet)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(record), 0o700); err != nil {
		return nil, fmt.Errorf("record delegate of network: %w", err)
	}
	// Before it is called: a DEL has to find it, whatever happens.
	if err := atomicfile.Write(record, composed, 0o600); err != nil {
		return nil, fmt.Errorf("record delegate of network: %w", err)
	}
	return e.delegate(ctx, composed, env)
}

// flannelCheck checks the delegate, which needs the result of the ADD.
func (e Exec) flannelCheck(ctx context.Context, conf object, env environment, stored []byte) ([]byte, error) {
	composed, err := parseConf(stored)
	if err != nil {
		return nil, fmt.Errorf("read delegate of network: %w", err)
	}
	composed["prevResult"] = conf["prevResult"]
	if !conf.has("prevResult") {
		delete(composed, "prevResult")
	}
	return e.delegate(ctx, encode(composed), env)
}

// delegate calls the plugin of a composed configuration.
func (e Exec) delegate(ctx context.Context, composed []byte, env environment) ([]byte, error) {
	conf, err := parseConf(composed)
	if err != nil {
		return nil, fmt.Errorf("read delegate of network: %w", err)
	}
	name := conf.text("type")
	path, err := e.FindInPath(name, filepath.SplitList(env.get(envPath)))
	if err != nil {
		return nil, fmt.Errorf("delegate of flannel: %w", err)
	}
	return e.ExecPlugin(ctx, path, composed, env)
}

func flannelStatus(command string, conf object) error {
	if command == "GC" {
		return nil
	}
	_, err := readSubnet(conf)
	return err
}

// readSubnet reads the file that flanneld writes.
func readSubnet(conf object) (subnetEnv, error) {
	path := conf.text("subnetFile")
	if path == "" {
		path = defaultSubnetFile
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return subnetEnv{}, fmt.Errorf("read subnet of flannel: %w", err)
	}
	subnet, err := parseSubnetEnv(content)
	if err != nil {
		return subnetEnv{}, fmt.Errorf("%s: %w", path, err)
	}
	return subnet, nil
}

// compose makes the delegate's configuration. The user's keys win.
func compose(conf object, subnet subnetEnv) ([]byte, error) {
	d, err := userDelegate(conf)
	if err != nil {
		return nil, err
	}
	set := func(key string, value any) {
		if _, ok := d[key]; !ok {
			d[key] = encode(value)
		}
	}
	set("type", "bridge")
	set("ipMasq", !subnet.masqueraded)
	if subnet.mtu > 0 {
		set("mtu", subnet.mtu)
	}
	if d.text("type") == "bridge" {
		set("isGateway", true)
	}
	if conf.has("cniVersion") {
		set("cniVersion", conf["cniVersion"])
	}
	if conf.has("runtimeConfig") {
		set("runtimeConfig", conf["runtimeConfig"])
	}
	d["name"] = encode(conf.text("name"))
	d["ipam"] = subnet.ipam(conf)
	return json.Marshal(d)
}

// userDelegate is what the user wants of the delegate.
func userDelegate(conf object) (object, error) {
	if !conf.has("delegate") {
		return object{}, nil
	}
	d, ok := parseObject(conf["delegate"])
	if !ok {
		return nil, errors.New(`"delegate" must be an object`)
	}
	for _, key := range []string{"name", "ipam"} {
		if _, ok := d[key]; ok {
			return nil, fmt.Errorf("\"delegate\" must not have %q: flannel sets it", key)
		}
	}
	if _, ok := d["type"]; ok && d.text("type") == "" {
		return nil, errors.New(`"type" of "delegate" must be a string`)
	}
	if d.text("type") == Flannel {
		return nil, errors.New("flannel cannot be the delegate of itself")
	}
	return d, nil
}

// ipam is host-local on the host's subnet. Where it keeps its leases may be
// said by ipam.dataDir of the network.
func (s subnetEnv) ipam(conf object) json.RawMessage {
	ipam := map[string]any{
		"type":   "host-local",
		"subnet": s.subnet.Masked().String(),
	}
	var routes []map[string]string
	for _, n := range s.networks {
		routes = append(routes, map[string]string{"dst": n.String()})
	}
	ipam["routes"] = routes
	if dir := conf.ipam().text("dataDir"); dir != "" {
		ipam["dataDir"] = dir
	}
	return encode(ipam)
}
