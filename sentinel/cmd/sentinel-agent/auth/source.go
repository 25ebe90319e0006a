package auth

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/golang-jwt/jwt/v5"
)

// ring is all keys there are. Its methods may be used from any goroutine.
type ring struct {
	files  []*file
	remote *remote // nil: no URL
	cancel context.CancelFunc
	watch  sync.WaitGroup
}

// newRing reads the files and starts to watch over them and the URL, until close.
func newRing(k Keys, transport http.RoundTripper) (*ring, error) {
	r := &ring{}
	for _, f := range []*file{
		{option: "secret-file", path: k.SecretFile, parse: parseSecret},
		{option: "public-key-file", path: k.PublicKeyFile, parse: parsePEM},
		{option: "jwks-file", path: k.JWKSFile, parse: parseJWKS},
	} {
		if f.path == "" {
			continue
		}
		if err := f.open(); err != nil {
			return nil, err
		}
		r.files = append(r.files, f)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	if len(r.files) > 0 {
		r.watch.Go(func() { watchFiles(ctx, r.files) })
	}
	if k.JWKSURL != "" {
		r.remote = newRemote(k, transport)
		r.watch.Go(func() { r.remote.run(ctx) })
	}
	return r, nil
}

// close ends the watching, and waits for it.
func (r *ring) close() {
	r.cancel()
	r.watch.Wait()
}

// find returns the keys that may verify a token. When there is none it asks the URL, if it may, and waits for
// the answer. Its error is errUnknownKey, or errUnavailable if the keys of the URL are not known.
func (r *ring) find(ctx context.Context, algorithm, kid string) (set jwt.VerificationKeySet, err error) {
	set, err = r.look(algorithm, kid)
	if err == nil || r.remote == nil {
		return set, err
	}
	r.remote.refresh(ctx)
	return r.look(algorithm, kid)
}

func (r *ring) look(algorithm, kid string) (set jwt.VerificationKeySet, err error) {
	add := func(keys []key) {
		for _, k := range keys {
			if k.serves(algorithm, kid) {
				set.Keys = append(set.Keys, k.public)
			}
		}
	}
	for _, f := range r.files {
		add(*f.keys.Load())
	}
	if r.remote != nil {
		var keys []key
		keys, err = r.remote.current()
		add(keys)
	}
	if len(set.Keys) > 0 {
		return set, nil
	}
	return set, errors.Join(err, errUnknownKey)
}
