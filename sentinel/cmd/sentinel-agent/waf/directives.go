package waf

import (
	"fmt"
	"io"
	"os"
)

// maxRules bounds a rules file, in bytes.
const maxRules = 1 << 20

// base is Coraza's recommended configuration and what is different here. Its body limit is never reached: what
// becomes of longer bodies would depend on the mode.
func base(o Options) string {
	engine := "On"
	if o.Mode == Detection {
		engine = "DetectionOnly"
	}
	return fmt.Sprintf(`
Include @coraza.conf-recommended
SecRuleEngine %s
SecRequestBodyAccess On
SecRequestBodyLimit %d
SecRequestBodyInMemoryLimit %d
SecResponseBodyAccess Off
SecAuditEngine Off
Include @crs-setup.conf.example
`, engine, o.MaxBody+1, o.MaxBody+1)
}

// setup gives CRS its parameters, by the rule ids that its own setup file has for them. Its last rule keeps it from
// reading arguments that are too long, in detection mode too: the time that CRS takes grows with their bytes. Files
// in multipart bodies do not count, as only their names are read.
func setup(o Options) string {
	return fmt.Sprintf(`
SecAction "id:900000,phase:1,pass,t:none,nolog,setvar:tx.blocking_paranoia_level=%d"
SecAction "id:900110,phase:1,pass,t:none,nolog,setvar:tx.inbound_anomaly_score_threshold=%d"
SecRule ARGS_COMBINED_SIZE "@gt %d" \
  "id:900230,phase:2,deny,status:413,t:none,msg:'Too many bytes in arguments',skipAfter:END-REQUEST-RULES"
`, o.Paranoia, o.Threshold, o.MaxFields) + exceptions
}

// exceptions widen what CRS allows by default, where the web of today needs it:
//   - the methods of REST, and every content type that Coraza reads as JSON;
//   - Git over HTTP, whose paths look like a repository left in the web root (930130), and whose bodies are packed: they
//     cannot be read as a form (901340) and may be compressed (920450). Only the few paths of Git's protocol count as
//     such, as elsewhere its content types would be a way around the rules;
//   - the cookie of Mixpanel, found on many sites, whose keys look like operators of MongoDB (942290);
//   - the query text of GraphQL, whose variables look like the same, and whose nodes like commands (932235). What users
//     enter is in the values of the variables, which all rules see.
const exceptions = `
SecAction "id:900200,phase:1,pass,t:none,nolog,setvar:'tx.allowed_methods=GET HEAD POST OPTIONS PUT PATCH DELETE'"
SecAction "id:900220,phase:1,pass,t:none,nolog,setvar:'tx.allowed_request_content_type=|application/x-www-form-urlencoded| |multipart/form-data| |text/xml| |application/xml| |application/soap+xml| |application/json|'"
SecRule REQUEST_HEADERS:Content-Type "@rx ^(application/[a-z0-9.-]+[+]json)(?:[\s;]|$)" \
  "id:900221,phase:1,pass,t:none,t:lowercase,nolog,capture,\
  setvar:'tx.allowed_request_content_type=%{tx.allowed_request_content_type} |%{tx.1}|'"
SecRule REQUEST_FILENAME "@rx [^/][.]git/(?:git-(?:upload|receive)-pack|info/refs|info/lfs/objects/batch)$" \
  "id:900222,phase:1,pass,t:none,nolog,ctl:ruleRemoveById=930130"
SecRule REQUEST_FILENAME "@rx [^/][.]git/git-(?:upload|receive)-pack$" "id:900223,phase:1,pass,t:none,nolog,chain"
  SecRule REQUEST_HEADERS:Content-Type "@rx ^application/x-git-(?:upload|receive)-pack-request$" \
    "t:none,ctl:ruleRemoveById=901340,ctl:ruleRemoveById=920420,ctl:ruleRemoveById=920450"
SecAction "id:900224,phase:1,pass,t:none,nolog,ctl:ruleRemoveTargetById=942290;REQUEST_COOKIES:/^mp_[0-9a-z]+_mixpanel$/"
SecRule REQUEST_FILENAME "@rx /graphql$" "id:900225,phase:1,pass,t:none,nolog,\
  ctl:ruleRemoveTargetById=932235;ARGS:json.query,ctl:ruleRemoveTargetById=942290;ARGS:json.query"
`

// readRules returns the operator's own directives.
func readRules(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("rules file: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(io.LimitReader(f, maxRules+1))
	if err != nil {
		return "", fmt.Errorf("rules file: %w", err)
	}
	if len(text) > maxRules {
		return "", fmt.Errorf("rules file %s has more than %d bytes", path, maxRules)
	}
	return string(text), nil
}
