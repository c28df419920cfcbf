// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"errors"
	"fmt"
)

// AuthType says which credentials an AuthEntry holds.
type AuthType string

// The types of the kind auth.
const (
	AuthBasic AuthType = "basic"
	AuthOAuth AuthType = "oauth"
	AuthAWS   AuthType = "aws"
)

// AuthEntry holds the credentials for one domain. Only those of Type are set.
type AuthEntry struct {
	Type      AuthType
	Basic     Basic  // AuthBasic
	Token     string // AuthOAuth
	TokenFile string // where Token was read from, or empty
	AWS       AWS    // AuthAWS
}

// Basic is a user and a password, neither empty.
type Basic struct {
	User     string `json:"user"`
	Password string `json:"password,omitempty"`
	// PasswordFile is where Password was read from, or empty.
	PasswordFile string `json:"passwordFile,omitempty"`
}

// AWS is a key pair for signature version 4; an empty region is derived from
// the host.
type AWS struct {
	AccessKeyID     string `json:"accessKeyID"`
	SecretAccessKey string `json:"secretAccessKey,omitempty"`
	// SecretAccessKeyFile is where SecretAccessKey was read from, or empty.
	SecretAccessKeyFile string `json:"secretAccessKeyFile,omitempty"`
	Region              string `json:"awsRegion"`
}

type oauth struct {
	Token     string `json:"token,omitempty"`
	TokenFile string `json:"tokenFile,omitempty"`
}

type authFile struct {
	header
	Domains     []string        `json:"domains"`
	Type        string          `json:"type"`
	Credentials json.RawMessage `json:"credentials"`
}

type dockerAuthFile struct {
	header
	Registries  []string        `json:"registries"`
	Credentials json.RawMessage `json:"credentials"`
}

func (l *level) parseAuth(data []byte) error {
	var f authFile
	if err := decode(data, &f); err != nil {
		return err
	}
	if err := refuseUnknown("", data, &f); err != nil {
		return err
	}
	if len(f.Domains) == 0 {
		return errors.New("no domains specified")
	}
	entry, err := authEntry(f)
	if err != nil {
		return err
	}
	for _, domain := range f.Domains {
		if _, ok := l.Auth[domain]; ok {
			return fmt.Errorf("auth for domain %q is already specified", domain)
		}
		l.Auth[domain] = entry
	}
	return nil
}

func authEntry(f authFile) (AuthEntry, error) {
	entry := AuthEntry{Type: AuthType(f.Type)}
	var err error
	switch entry.Type {
	case "":
		err = errors.New("no auth type specified")
	case AuthBasic:
		err = credentials(f.Credentials, &entry.Basic)
	case AuthOAuth:
		var o oauth
		err = credentials(f.Credentials, &o)
		entry.Token, entry.TokenFile = o.Token, o.TokenFile
	case AuthAWS:
		err = credentials(f.Credentials, &entry.AWS)
	default:
		err = fmt.Errorf("unknown auth type: %q", f.Type)
	}
	return entry, err
}

func (l *level) parseDockerAuth(data []byte) error {
	var f dockerAuthFile
	if err := decode(data, &f); err != nil {
		return err
	}
	if err := refuseUnknown("", data, &f); err != nil {
		return err
	}
	if len(f.Registries) == 0 {
		return errors.New("no registries specified")
	}
	var b Basic
	if err := credentials(f.Credentials, &b); err != nil {
		return err
	}
	for _, registry := range f.Registries {
		if _, ok := l.DockerAuth[registry]; ok {
			return fmt.Errorf("credentials for docker registry %q are already specified", registry)
		}
		l.DockerAuth[registry] = b
	}
	return nil
}

// checker is a credentials object that knows its mandatory fields.
type checker interface{ check() error }

// credentials decodes the object credentials into v and checks it.
func credentials(data json.RawMessage, v checker) error {
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	if err := refuseUnknown("credentials.", data, v); err != nil {
		return err
	}
	return v.check()
}

func (b *Basic) check() error {
	if b.User == "" {
		return errors.New("user not specified")
	}
	if err := readSecret(&b.Password, b.PasswordFile, "password"); err != nil {
		return err
	}
	if b.Password == "" {
		return errors.New("password not specified")
	}
	return nil
}

func (o *oauth) check() error {
	if err := readSecret(&o.Token, o.TokenFile, "token"); err != nil {
		return err
	}
	if o.Token == "" {
		return errors.New("no oauth bearer token specified")
	}
	return nil
}

func (a *AWS) check() error {
	if a.AccessKeyID == "" {
		return errors.New("no AWS Access Key ID specified")
	}
	if err := readSecret(&a.SecretAccessKey, a.SecretAccessKeyFile, "secretAccessKey"); err != nil {
		return err
	}
	if a.SecretAccessKey == "" {
		return errors.New("no AWS Secret Access Key specified")
	}
	return nil
}
