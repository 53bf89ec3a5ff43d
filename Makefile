# SPDX-License-Identifier: GPL-2.0
#
# The front of the bench: `make help`. A kernel build that is pointed here (make -C <kernel> M=<here>)
# reads the Kbuild file beside this one instead.

TARGETS := run check check-debug soak bench build boot guest shell lint deb series series-check clean clean-cache
OPTIONS := KERNEL_SRC KCONFIG TOOLCHAIN ACCEL CPUS V KERNELS ONLY SOAK SEED CHAOS MACHINE DEVICE MODEL APPEND CMD \
	UPDATE XDG_CACHE_HOME

# A misspelt option would be ignored without a word.
given := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
unknown := $(filter-out $(OPTIONS),$(given))
ifneq ($(unknown),)
$(error unknown option: $(unknown); make help lists them)
endif

# The device and its model's options go as one: MODEL='[DEVICE] [OPTION...]'.
ifneq ($(DEVICE),$(filter $(firstword $(DEVICE)),dsa queue))
$(error DEVICE=$(DEVICE): must be dsa or queue)
endif
ifneq ($(DEVICE),)
override MODEL := $(DEVICE) $(MODEL)
endif

# As they are given: make would take each $ of a shell command for a variable of its own.
override CMD := $(value CMD)
override APPEND := $(value APPEND)

export $(OPTIONS)

help:
	@sed -n 's/^#: \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

$(TARGETS):
	@exec tools/testing/ims/ims $@

.PHONY: help $(TARGETS)
.NOTPARALLEL:

#: Targets
#:   run          build, boot a guest with the device, show its interrupts, and copy a file with it
#:   check        run every test, as TAP; the last line is "N passed, N failed, N skipped"
#:   check-debug  the same on the other kernels, and more builds: check KERNELS='debug rt cfi builtin'
#:   soak         run long random tests of interrupts, items and calls, and hostile devices, as TAP
#:   bench        measure Rust, C and MSI-X side by side: a table, and figures and plots in out/bench
#:   build        build what run and check need: kernel, modules, selftests, device models (into out/)
#:   boot         boot a guest with the driver and a shell on this terminal (leave with exit, or Ctrl-A X)
#:   guest        run one command in a guest: make guest CMD='cat /proc/interrupts'
#:   shell        run a shell in the build root
#:   lint         run only the style and static checks of `check`
#:   deb          build Debian packages of the patched kernel, into out/deb
#:   series       write the patches to mail, with a cover letter, to out/series
#:   series-check apply them one by one to the kernel's own tree; check and build each step (patches/README.md)
#:   clean        remove this clone's out/
#:   clean-cache  remove what all clones share: build root, kernel source, build trees, crates
#:   help         print this text
#:
#: Options (make TARGET OPTION=value)
#:   KERNEL_SRC=DIR         use this kernel tree (of the pinned series) instead of Debian's; it is only read
#:   KCONFIG=FILE           deb: configuration of the machine that will run the kernel, such as /boot/config-...
#:                          (default: Debian's for the series)
#:   TOOLCHAIN=root|host    tools of the bootstrapped build root (default), or the machine's own
#:   ACCEL=tcg|kvm          QEMU's accelerator; default: kvm where the CPU has it and /dev/kvm is usable
#:   CPUS=N                 virtual CPUs of a guest, 1 to 16 (default 2)
#:   V=1                    show the output of the steps, which is also logged
#:   KERNELS='NAME...'      plain (default), debug (KASAN, lockdep, kmemleak, fault injection), rt (PREEMPT_RT),
#:                          cfi (kCFI, MODVERSIONS), builtin (the driver built in, no
#:                          PM_SLEEP, no inline helpers); build, check: any of them; run, boot, guest: one
#:   ONLY=GLOB              check: only the stages so named (lint model misuse package bench kunit core e2e
#:                          refusal chaos life isolation referee)
#:   SOAK=N                 soak: interrupts raised on each machine (default 1000000), and calls at random;
#:                          items are submitted for N / 2500 seconds; 0: none
#:   SEED=N                 soak: seed of the random operations (default 1)
#:   CHAOS=N                soak: number of hostile devices, with seeds from 1 on (default 1000); 0: none
#:   UPDATE=1               bench: write the new figures and plots into the documentation
#:   MACHINE=KIND           boot, guest: vtd, vtd-x2apic (default), amdvi, vtd-dma (it translates DMA),
#:                          noremap, or vtd-virt, vtd-caching or amdvi-virt (they show that they are emulated)
#:   DEVICE=dsa|queue       boot, guest: the device, dsa (default) or one with its messages in host memory
#:   MODEL='OPTIONS'        boot, guest: options of its model (out/dsa-model --help, out/queue-model --help)
#:   APPEND='ARGS'          boot, guest: additional arguments of the kernel's command line
#:   CMD='COMMAND'          guest: the command, run in the guest's view of out/
#:   XDG_CACHE_HOME=DIR     the cache is DIR/rust-ims (default: ~/.cache/rust-ims)
#:
#: Logs are in out/log.
