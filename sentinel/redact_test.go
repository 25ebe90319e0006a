package sentinel

import "testing"

func TestIsSecret(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"Authorization": true, "Proxy-Authorization": true, "Cookie": true, "Set-Cookie": true, "cookie2": true, "Set-Cookie2": true,
		"X-Api-Key": true, "X-Auth-Token": true, "X-Csrf-Token": true, "X-Xsrf-Token": true, "X-Amz-Security-Token": true,
		"X-Internal-Token": true, "Authorization-Internal": true, "Authentication-Info": true, "Proxy-Authentication-Info": true,
		"X-Session-Id": true, "SAML-Assertion": true, "X-CLIENT-SECRET": true, "x-user-password": true,
		"X-Author": true, "X-Keyboard": true, "X-Monkey": true, // like secrets: rather too much than too little
		"Accept": false, "User-Agent": false, "Content-Type": false, "X-Request-Id": false, "Referer": false, "Location": false,
		"X-Tok-En": false, "": false,
	} {
		if got := isSecret(name); got != want {
			t.Errorf("%s: %t, want %t", name, got, want)
		}
	}
}

func TestRedactPairs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, text, want string }{
		{"a query", "https://a.test/?page=2&access_token=s&lang=en", "https://a.test/?page=2&access_token=[redacted]&lang=en"},
		{"the first", "/?password=s&a=1", "/?password=[redacted]&a=1"},
		{"upper case", "/?ApiKey=s", "/?ApiKey=[redacted]"},
		{"two", "?token=a&session=b", "?token=[redacted]&session=[redacted]"},
		{"none", "/", "/"},
		{"nothing", "", ""},
		{"ordinary names", "https://a.test/b?page=2&lang=en#top=1", "https://a.test/b?page=2&lang=en#top=1"},
		{"a host like a secret", "https://auth.test/?page=2", "https://auth.test/?page=2"},
		{"a value like a secret", "/?want=token", "/?want=token"},
		{"no value", "/?token", "/?token"},
		{"a name like a secret", "/?author=s", "/?author=[redacted]"},
		{"a fragment", "https://a.test/#id_token=s&state=1", "https://a.test/#id_token=[redacted]&state=1"},
		{"a path parameter", "/a;jsessionid=s/b", "/a;jsessionid=[redacted]"},
		{"delimiters in the value", "/?token=a?b;c#d=e, f", "/?token=[redacted]"},
		{"an escaped name", "/?%74oken=s", "/?%74oken=[redacted]"},
		{"a broken escape", "/?a%zz=s", "/?a%zz=[redacted]"},
		{"an escaped address", "/?next=https%3A%2F%2Fa.test%2F%3Ftoken%3ds%26x&b=1", "/?next=https%3A%2F%2Fa.test%2F%3Ftoken%3d[redacted]&b=1"},
		{"a list", "max-age=1, key=s", "max-age=1, key=[redacted]"},
		{"behind an ordinary value", "a=b=secret=s", "a=b=secret=[redacted]"},
		{"padding", "digest=YWJj==", "digest=YWJj=="},
	} {
		if got := string(redactPairs([]byte(test.text))); got != test.want {
			t.Errorf("%s: %q becomes %q, want %q", test.name, test.text, got, test.want)
		}
	}
}
