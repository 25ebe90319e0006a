package kubernetes

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// manifests are what the files hold.
type manifests struct {
	deployment apps.Deployment
	service    core.Service
	config     core.ConfigMap
	scaler     autoscaling.HorizontalPodAutoscaler
	budget     policy.PodDisruptionBudget
}

// load reads every file, strictly: an unknown or repeated field is an error.
func load(t *testing.T) *manifests {
	t.Helper()
	m := &manifests{}
	into := map[string]any{
		"deployment.yaml": &m.deployment, "service.yaml": &m.service, "configmap.yaml": &m.config,
		"hpa.yaml": &m.scaler, "pdb.yaml": &m.budget,
	}
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) != len(into) {
		t.Fatalf("the manifests are %q, %v", files, err)
	}
	for _, file := range files {
		text := read(t, file)
		if into[file] == nil {
			t.Fatalf("nobody knows %s", file)
		}
		if err := yaml.UnmarshalStrict(text, into[file]); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		var kind struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal(text, &kind); err != nil || kinds[file] != kind.APIVersion+" "+kind.Kind {
			t.Errorf("%s is %+v, %v", file, kind, err)
		}
	}
	return m
}

var kinds = map[string]string{
	"deployment.yaml": "apps/v1 Deployment", "service.yaml": "v1 Service", "configmap.yaml": "v1 ConfigMap",
	"hpa.yaml": "autoscaling/v2 HorizontalPodAutoscaler", "pdb.yaml": "policy/v1 PodDisruptionBudget",
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestStrict shows that the reading is as strict as it is meant to be.
func TestStrict(t *testing.T) {
	for _, text := range []string{"spec: {replica: 1}", "spec: {replicas: 1, replicas: 2}", "spec: {replicas: one}"} {
		if err := yaml.UnmarshalStrict([]byte(text), &apps.Deployment{}); err == nil {
			t.Errorf("%s is a Deployment", text)
		}
	}
}

// TestManifests follows the references between the manifests.
func TestManifests(t *testing.T) {
	m := load(t)
	pod := m.deployment.Spec.Template
	for name, selector := range map[string]map[string]string{
		"Deployment": m.deployment.Spec.Selector.MatchLabels, "Service": m.service.Spec.Selector, "PodDisruptionBudget": m.budget.Spec.Selector.MatchLabels,
	} {
		for key, value := range selector {
			if pod.Labels[key] != value {
				t.Errorf("the %s selects %s=%s, the pods have %q", name, key, value, pod.Labels[key])
			}
		}
		if len(selector) == 0 {
			t.Errorf("the %s selects everything", name)
		}
	}
	if ref := m.scaler.Spec.ScaleTargetRef; ref.Kind != m.deployment.Kind || ref.Name != m.deployment.Name || ref.APIVersion != m.deployment.APIVersion {
		t.Errorf("the autoscaler scales %+v", ref)
	}
	if m.deployment.Spec.Replicas != nil {
		t.Error("the Deployment sets replicas, which the autoscaler sets")
	}
	if v := pod.Spec.Volumes[0]; v.ConfigMap == nil || v.ConfigMap.Name != m.config.Name {
		t.Errorf("the pods mount %+v", v)
	}
	ports := ports(&pod.Spec.Containers[0])
	for _, p := range m.service.Spec.Ports {
		if ports[p.TargetPort.StrVal] == 0 {
			t.Errorf("the Service's port %s leads to %s, which no container has", p.Name, p.TargetPort.StrVal)
		}
	}
	if port := pod.Annotations["prometheus.io/port"]; port != strconv.Itoa(int(ports["admin"])) {
		t.Errorf("Prometheus is to ask port %s", port)
	}
}

func ports(c *core.Container) map[string]int32 {
	named := map[string]int32{}
	for _, p := range c.Ports {
		named[p.Name] = p.ContainerPort
	}
	return named
}

// TestConfig holds the ConfigMap, the Deployment and the configuration against each other.
func TestConfig(t *testing.T) {
	m := load(t)
	config := read(t, "sentinel.kdl")
	if m.config.Data["sentinel.kdl"] != string(config) {
		t.Error("the ConfigMap's configuration is not sentinel.kdl")
	}
	pod := m.deployment.Spec.Template.Spec
	c := pod.Containers[0]
	mount := c.VolumeMounts[0]
	if mount.SubPath != "" {
		t.Error("a subPath is never updated")
	}
	if len(c.Args) != 2 || c.Args[1] != filepath.Join(mount.MountPath, "sentinel.kdl") {
		t.Errorf("the program gets %q, the configuration is mounted at %s", c.Args, mount.MountPath)
	}
	for name, port := range ports(&c) {
		listener := map[string]string{"http": "main", "admin": "admin"}[name]
		if want := `listener "` + listener + `" { address "0.0.0.0:` + strconv.Itoa(int(port)) + `" }`; !bytes.Contains(config, []byte(want)) {
			t.Errorf("no %s", want)
		}
	}
	for name, probe := range map[string]*core.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
		if want := `path "` + probe.HTTPGet.Path + `"`; !bytes.Contains(config, []byte(want)) || probe.HTTPGet.Port.StrVal != "admin" {
			t.Errorf("the %s probe asks for %+v", name, probe.HTTPGet)
		}
	}
	const hardStop = 5
	if grace := *pod.TerminationGracePeriodSeconds; grace <= seconds(t, config, "shutdown-delay-secs")+seconds(t, config, "graceful-shutdown-timeout-secs")+hardStop {
		t.Errorf("the pod is killed after %d seconds, while it drains", grace)
	}
}

func seconds(t *testing.T, config []byte, setting string) int64 {
	t.Helper()
	found := regexp.MustCompile(setting + ` (\d+)`).FindSubmatch(config)
	if found == nil {
		t.Fatalf("no %s", setting)
	}
	n, err := strconv.ParseInt(string(found[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestHardened demands that the pod may do no more than it has to.
func TestHardened(t *testing.T) {
	pod := load(t).deployment.Spec.Template.Spec
	s, c := pod.SecurityContext, pod.Containers[0].SecurityContext
	switch {
	case s.RunAsNonRoot == nil || !*s.RunAsNonRoot:
		t.Error("it may run as root")
	case s.SeccompProfile == nil || s.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault:
		t.Error("no seccomp profile")
	case pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken:
		t.Error("it gets a token for the cluster")
	case c.AllowPrivilegeEscalation == nil || *c.AllowPrivilegeEscalation:
		t.Error("it may gain rights")
	case c.ReadOnlyRootFilesystem == nil || !*c.ReadOnlyRootFilesystem:
		t.Error("it may write its file system")
	case len(c.Capabilities.Drop) != 1 || c.Capabilities.Drop[0] != "ALL" || len(c.Capabilities.Add) > 0:
		t.Error("it has capabilities")
	case pod.Containers[0].Resources.Limits.Memory().IsZero():
		t.Error("it may take all memory")
	}
}
