package auth

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/MicahParks/jwkset"
)

// Bounds of what keys are read from.
const (
	maxKeyText = 1 << 20 // bytes of a file or an answer
	maxKeys    = 64      // of one source: a token without a kid is tried with each that suits
	minSecret  = 32      // bytes
)

// key is one that may verify tokens.
type key struct {
	id        string // kid; empty: any
	algorithm string // the only one it is for; empty: any that suits it
	public    any    // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey or, for HMAC, []byte
}

// serves reports whether the key may verify a token with this algorithm and kid; an empty kid is none.
func (k *key) serves(algorithm, kid string) bool {
	return (kid == "" || k.id == "" || k.id == kid) &&
		(k.algorithm == "" || k.algorithm == algorithm) && algorithms[algorithm](k.public)
}

// parseSecret takes a file's bytes, without a final newline, for a shared secret. PEM is refused: a public
// key that is taken for a secret lets everybody sign.
func parseSecret(text []byte) ([]key, error) {
	secret := bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	switch {
	case bytes.Contains(secret, []byte("-----BEGIN")):
		return nil, errors.New("want a secret, not PEM")
	case len(secret) < minSecret:
		return nil, fmt.Errorf("the secret has %d bytes: want %d or more", len(secret), minSecret)
	}
	return []key{{public: slices.Clone(secret)}}, nil
}

// parsePEM reads the public keys and certificates of a PEM text, all of which must be usable.
func parsePEM(text []byte) ([]key, error) {
	var keys []key
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		public, err := parseBlock(block)
		switch {
		case err != nil:
			return nil, fmt.Errorf("block %d: %w", len(keys)+1, err)
		case !useful(public):
			return nil, fmt.Errorf("block %d: no algorithm takes this %T", len(keys)+1, public)
		}
		keys = append(keys, key{public: public})
		if len(keys) > maxKeys {
			return nil, fmt.Errorf("more than %d keys", maxKeys)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("no PEM block")
	}
	return keys, nil
}

func parseBlock(block *pem.Block) (public any, err error) {
	switch block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = cert.PublicKey
		}
	default:
		return nil, fmt.Errorf("want a public key or a certificate, not %.40q", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the %s: %w", block.Type, err)
	}
	return public, nil
}

// parseJWKS reads the keys of a JWK Set that may verify signatures, which may be none: that is how an issuer
// takes all of them back. Others are left out: sets have keys for encryption, and of kinds to come. So are
// secrets, which have no place in a set that is published.
func parseJWKS(text []byte) ([]key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("reading the set: %w", err)
	}
	if set.Keys == nil || len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("want a member keys with up to %d keys", maxKeys)
	}
	keys := []key{}
	for _, member := range set.Keys {
		k, err := jwkset.NewJWKFromRawJSON(member, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err != nil {
			continue
		}
		if m := k.Marshal(); verifies(m) && useful(k.Key()) {
			keys = append(keys, key{id: m.KID, algorithm: m.ALG.String(), public: k.Key()})
		}
	}
	return keys, nil
}

// verifies reports whether a key's own words allow it to verify: RFC 7517 sections 4.2 and 4.3.
func verifies(m jwkset.JWKMarshal) bool {
	return (m.USE == "" || m.USE == jwkset.UseSig) &&
		(len(m.KEYOPS) == 0 || slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify)) && len(m.KID) <= maxKid
}
