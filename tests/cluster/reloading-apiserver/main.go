// A stand-in for automatic reload, around the real kube-apiserver of a version that has none (1.20).
//
// It is started as kube-apiserver, in its place. With --encryption-provider-config-automatic-reload=true (and a file named) it
// serves in front of a real kube-apiserver that runs a copy of that file, and looks at the file every ten seconds (the real one:
// sixty). A changed file is given to a second kube-apiserver; when that is ready all new requests go to it, and the first one ends.
// Where it does not get ready the last good one stays, and the failure is counted. The process stays the same. /metrics tells what
// kube-apiserver 1.36 tells of reloads. Without the flag it becomes the real one.
//
// A file /etc/kubernetes/refuse-reload makes each load fail: for tests.
package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

//go:embed kube-apiserver
var program []byte

const (
	refuse   = "/etc/kubernetes/refuse-reload"
	look     = 10 * time.Second
	patience = 110 * time.Second
	metric   = "apiserver_encryption_config_controller_"
)

func die(format string, args ...interface{}) {
	fmt.Fprintf(os.Stderr, "E stand-in: "+format+"\n", args...)
	os.Exit(1)
}

// The value of --name=value, and whether it is there.
func flag(args []string, name string) (string, bool) {
	value, found := "", false
	for _, a := range args {
		if strings.HasPrefix(a, "--"+name+"=") {
			value, found = a[len(name)+3:], true
		}
	}
	return value, found
}

func without(args []string, names ...string) []string {
	var rest []string
next:
	for _, a := range args {
		for _, n := range names {
			if strings.HasPrefix(a, "--"+n+"=") {
				continue next
			}
		}
		rest = append(rest, a)
	}
	return rest
}

type backend struct {
	cmd    *exec.Cmd
	proxy  *httputil.ReverseProxy
	url    *url.URL
	copied string
	hash   string
	ended  chan struct{}
}

type standIn struct {
	args       []string
	real, file string
	transport  http.RoundTripper
	number     int

	sync.RWMutex
	now                 *backend
	successes, failures int
}

func (s *standIn) load(data []byte) (*backend, error) {
	if _, err := os.Stat(refuse); err == nil {
		return nil, fmt.Errorf("%s is there", refuse)
	}
	s.number++
	port := 16000 + s.number%1000
	b := &backend{copied: fmt.Sprintf("/tmp/encryption-%d.yaml", s.number), hash: fmt.Sprintf("%x", sha256.Sum256(data)),
		url: &url.URL{Scheme: "https", Host: fmt.Sprintf("127.0.0.1:%d", port)}, ended: make(chan struct{})}
	if err := os.WriteFile(b.copied, data, 0600); err != nil {
		return nil, err
	}
	// (RKE's front proxy bears another name than the one that its apiservers allow.)
	args := without(s.args, "encryption-provider-config", "encryption-provider-config-automatic-reload", "secure-port", "bind-address",
		"requestheader-allowed-names")
	args = append(args, "--encryption-provider-config="+b.copied, fmt.Sprintf("--secure-port=%d", port), "--bind-address=127.0.0.1")
	b.cmd = exec.Command(s.real, args...)
	b.cmd.Stdout, b.cmd.Stderr = os.Stdout, os.Stderr
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { b.cmd.Wait(); close(b.ended) }()
	b.proxy = httputil.NewSingleHostReverseProxy(b.url)
	b.proxy.Transport = s.transport
	b.proxy.FlushInterval = -1
	why := ""
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		select {
		case <-b.ended:
			os.Remove(b.copied)
			return nil, fmt.Errorf("kube-apiserver ended with this file")
		default:
		}
		code, body := s.get(b, "/readyz")
		if code == 200 {
			return b, nil
		}
		why = fmt.Sprintf("%d %s", code, body)
	}
	b.end(0)
	return nil, fmt.Errorf("kube-apiserver did not get ready with this file: %s", why)
}

func (b *backend) end(after time.Duration) {
	time.Sleep(after)
	b.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.ended:
	case <-time.After(20 * time.Second):
		b.cmd.Process.Kill()
		<-b.ended
	}
	os.Remove(b.copied)
}

var unpacked *os.File // (kept, or it would be closed when it is collected)

// The real one as a file of this process's memory: nothing is left on a disk.
func unpack() string {
	name, _ := syscall.BytePtrFromString("kube-apiserver")
	fd, _, e := syscall.Syscall(319, uintptr(unsafe.Pointer(name)), 0, 0) // memfd_create
	if e != 0 {
		die("memfd_create: %v", e)
	}
	unpacked = os.NewFile(fd, "kube-apiserver")
	if _, err := unpacked.Write(program); err != nil {
		die("%v", err)
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)
}

// As an administrator, by the front proxy's certificate.
func (s *standIn) get(b *backend, path string) (int, []byte) {
	r, _ := http.NewRequest("GET", b.url.String()+path, nil)
	r.Header.Set("X-Remote-User", "stand-in")
	r.Header.Set("X-Remote-Group", "system:masters")
	answer, err := s.transport.RoundTrip(r)
	if err != nil {
		return 0, nil
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, body
}

func (s *standIn) poll() {
	for range time.Tick(look) {
		data, err := os.ReadFile(s.file)
		if err == nil && fmt.Sprintf("%x", sha256.Sum256(data)) == s.now.hash {
			continue
		}
		var next *backend
		if err == nil {
			next, err = s.load(data)
		}
		s.Lock()
		if err != nil {
			s.failures++
			fmt.Fprintf(os.Stderr, "E stand-in: error processing encryption config file %s: %v\n", s.file, err)
			s.Unlock()
			continue
		}
		before := s.now
		s.now = next
		s.successes++
		s.Unlock()
		go s.watch(next)
		go before.end(3 * time.Second)
	}
}

// One that ends while it is in force takes all of it down.
func (s *standIn) watch(b *backend) {
	<-b.ended
	s.RLock()
	defer s.RUnlock()
	if s.now == b {
		die("kube-apiserver ended")
	}
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.RLock()
	b, successes, failures := s.now, s.successes, s.failures
	s.RUnlock()
	for name := range r.Header {
		if strings.HasPrefix(strings.ToLower(name), "x-remote-") {
			r.Header.Del(name)
		}
	}
	if len(r.TLS.PeerCertificates) > 0 {
		who := r.TLS.PeerCertificates[0].Subject
		r.Header.Set("X-Remote-User", who.CommonName)
		r.Header["X-Remote-Group"] = who.Organization
	}
	if r.URL.Path != "/metrics" || len(r.TLS.PeerCertificates) == 0 {
		b.proxy.ServeHTTP(w, r)
		return
	}
	code, body := s.get(b, "/metrics")
	out := bytes.NewBuffer(body)
	id := `apiserver_id_hash="sha256:` + strings.Repeat("0", 64) + `"`
	fmt.Fprintf(out, "%slast_config_info{%s,hash=\"sha256:%s\"} 1\n", metric, id, b.hash)
	if successes > 0 {
		fmt.Fprintf(out, "%sautomatic_reloads_total{%s,status=\"success\"} %d\n", metric, id, successes)
	}
	if failures > 0 {
		fmt.Fprintf(out, "%sautomatic_reloads_total{%s,status=\"failure\"} %d\n", metric, id, failures)
	}
	if code == 0 {
		code = http.StatusBadGateway
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	w.WriteHeader(code)
	w.Write(out.Bytes())
}

func pool(path string) *x509.CertPool {
	text, err := os.ReadFile(path)
	if err != nil {
		die("%v", err)
	}
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(text)
	return p
}

func main() {
	real := unpack()
	args := os.Args[1:]
	file, has := flag(args, "encryption-provider-config")
	if reload, _ := flag(args, "encryption-provider-config-automatic-reload"); reload != "true" || !has {
		args = without(args, "encryption-provider-config-automatic-reload")
		die("%v", syscall.Exec(real, append([]string{"kube-apiserver"}, args...), os.Environ()))
	}
	value := func(name string) string { v, _ := flag(args, name); return v }
	proxy, err := tls.LoadX509KeyPair(value("proxy-client-cert-file"), value("proxy-client-key-file"))
	if err != nil {
		die("%v", err)
	}
	s := &standIn{args: args, real: real, file: file, transport: &http.Transport{ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{proxy}, RootCAs: pool(value("client-ca-file")), ServerName: "kubernetes"}}}
	data, err := os.ReadFile(file)
	if err != nil {
		die("%v", err)
	}
	if s.now, err = s.load(data); err != nil {
		die("%v", err)
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-end
		s.RLock()
		b := s.now
		s.RUnlock()
		s.Lock() // (nobody takes its end for a fault)
		b.end(0)
		os.Exit(0)
	}()
	go s.watch(s.now)
	go s.poll()
	server := &http.Server{Addr: ":" + value("secure-port"), Handler: s,
		TLSConfig: &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool(value("client-ca-file"))}}
	die("%v", server.ListenAndServeTLS(value("tls-cert-file"), value("tls-private-key-file")))
}
