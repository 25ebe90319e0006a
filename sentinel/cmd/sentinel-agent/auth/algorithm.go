package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"maps"
	"slices"
)

// minRSA is the shortest RSA key that is used, in bits: RFC 7518 section 3.3.
const minRSA = 2048

// algorithms says of each algorithm which keys are for it. A key is never used for another one: a public key
// can thus not become the secret of an HMAC, nor one curve stand in for another.
var algorithms = map[string]func(key any) bool{
	"HS256": isSecret(32), "HS384": isSecret(48), "HS512": isSecret(64), // RFC 7518 section 3.2
	"RS256": isRSA, "RS384": isRSA, "RS512": isRSA,
	"PS256": isRSA, "PS384": isRSA, "PS512": isRSA,
	"ES256": isCurve(elliptic.P256()), "ES384": isCurve(elliptic.P384()), "ES512": isCurve(elliptic.P521()),
	"EdDSA": isEd25519,
}

// useful reports whether any algorithm is for a key.
func useful(key any) bool {
	for suits := range maps.Values(algorithms) {
		if suits(key) {
			return true
		}
	}
	return false
}

func isSecret(min int) func(any) bool {
	return func(key any) bool {
		secret, ok := key.([]byte)
		return ok && len(secret) >= min
	}
}

func isRSA(key any) bool {
	public, ok := key.(*rsa.PublicKey)
	return ok && public.N.BitLen() >= minRSA
}

func isCurve(curve elliptic.Curve) func(any) bool {
	return func(key any) bool {
		public, ok := key.(*ecdsa.PublicKey)
		return ok && public.Curve == curve
	}
}

func isEd25519(key any) bool {
	_, ok := key.(ed25519.PublicKey)
	return ok
}

// allowed returns the algorithms of a list, all of them for an empty one.
func allowed(list []string) []string {
	if len(list) == 0 {
		return slices.Sorted(maps.Keys(algorithms))
	}
	return list
}
