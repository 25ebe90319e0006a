package proc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// Tree returns root and every process below it, root first. Processes that end while it looks are left out.
func Tree(root int) ([]int, error) {
	parents, err := parents()
	if err != nil {
		return nil, err
	}
	if _, alive := parents[root]; !alive {
		return nil, fmt.Errorf("process %d is not running", root)
	}
	tree := []int{root}
	for i := 0; i < len(tree); i++ {
		for pid, parent := range parents {
			if parent == tree[i] {
				tree = append(tree, pid)
			}
		}
	}
	return tree, nil
}

func parents() (map[int]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	parents := make(map[int]int, len(entries))
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue // not a process
		}
		s, err := readStat(pid)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // ended since the listing
		}
		if err != nil {
			return nil, err
		}
		parents[pid] = s.parent
	}
	return parents, nil
}
