package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// server is one server process on a free loopback port with a store of its own.
type server struct {
	name, exe, dir, addr string
	args                 []string
	cmd                  *exec.Cmd
}

var listening = regexp.MustCompile(`Listening for client connections on [^ ]*:(\d+)`)

func startServer(name, exe, dir string, args ...string) (*server, error) {
	s := &server{name: name, exe: exe, dir: dir, args: args}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd = exec.Command(exe, append([]string{"-a", "127.0.0.1", "-p", "-1", "-js", "-sd", filepath.Join(dir, "store")}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(240 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		text := s.log()
		m := listening.FindStringSubmatch(text)
		if m != nil && strings.Contains(text, "Server is ready") {
			s.addr = "127.0.0.1:" + m[1]
			return s, nil
		}
		if s.cmd.Process.Signal(syscall.Signal(0)) != nil {
			break
		}
	}
	s.stop()
	return nil, fmt.Errorf("%s did not start:\n%s", name, s.log())
}

func (s *server) logPath() string { return filepath.Join(s.dir, "log") }

func (s *server) log() string {
	b, _ := os.ReadFile(s.logPath())
	return string(b)
}

func (s *server) stop() {
	if s == nil || s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() { _ = s.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		<-done
	}
	s.cmd = nil
}
