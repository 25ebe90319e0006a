package auth

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// Command returns the subcommand auth. serve is given the agent, and returns when it has ended.
func Command(serve func(ctx context.Context, h agent.Handler) error) *cobra.Command {
	o := Options{Keys: Keys{}.withDefaults()}
	cmd := &cobra.Command{
		Use:   "auth",
		Short: "Let only requests with a good JSON Web Token pass",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := New(o)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), h)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.SecretFile, "secret-file", "", "`FILE` with a shared secret of 32 bytes or more, for HS256, HS384 and HS512")
	flags.StringVar(&o.PublicKeyFile, "public-key-file", "", "PEM `FILE` with public keys or certificates")
	flags.StringVar(&o.JWKSFile, "jwks-file", "", "`FILE` with a JSON Web Key Set")
	flags.StringVar(&o.JWKSURL, "jwks-url", "", "`URL` of a JSON Web Key Set: https, or http to a loopback address")
	flags.DurationVar(&o.Refresh, "jwks-refresh", o.Refresh, "time between fetches of the URL")
	flags.DurationVar(&o.MinRefresh, "jwks-min-refresh", o.MinRefresh, "least time between fetches because of unknown keys")
	flags.DurationVar(&o.MaxStale, "jwks-max-stale", o.MaxStale, "how long fetched keys are used when the URL fails")
	flags.DurationVar(&o.Timeout, "jwks-timeout", o.Timeout, "longest time of a fetch")
	flags.StringSliceVar(&o.Algorithms, "algorithms", nil, "the only `ALGORITHMS` allowed (default all that are known; never none)")
	flags.StringVar(&o.Issuer, "issuer", "", "what iss must be")
	flags.StringSliceVar(&o.Audience, "audience", nil, "`AUDIENCES` of which aud must have one")
	flags.StringSliceVar(&o.Scopes, "scopes", nil, "`SCOPES` that scope or scp must have, all of them")
	flags.StringSliceVar(&o.RequiredClaims, "required-claims", nil, "`PATHS` of claims that must be there")
	flags.DurationVar(&o.Leeway, "leeway", defaultLeeway, "how far clocks may be apart")
	flags.BoolVar(&o.OptionalExp, "optional-exp", false, "take tokens without exp")
	flags.StringVar(&o.Header, "header", "", "header field that carries the token alone (default Authorization, after Bearer)")
	flags.StringVar(&o.Cookie, "cookie", "", "`NAME` of the cookie that carries the token")
	flags.BoolVar(&o.StripToken, "strip-token", false, "take the header field with the token from the request")
	flags.StringToStringVar(&o.Claims, "claims", nil, "`CLAIM=HEADER,...`: claims, with dots for nesting, that become header fields")
	flags.StringSliceVar(&o.Anonymous, "anonymous", nil, "`PATHS` that need no token; a final * stands for any rest")
	flags.StringVar(&o.Realm, "realm", "", "realm of challenges")
	return cmd
}
