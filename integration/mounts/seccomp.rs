//! Older kernels, played by seccomp filters that deny the newer calls as such a kernel would.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use support::program;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

/// Equal on all architectures that came by these calls.
const FSOPEN: i64 = 430;
const FSCONFIG: i64 = 431;
/// Older, and so not equal on all.
const MKNODAT: i64 = if cfg!(target_arch = "x86_64") {
    259
} else {
    33
};
const EPERM: u32 = 1;
const EINVAL: u32 = 22;
const ENOSYS: u32 = 38;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    AsItIs,
    /// Before Linux 5.2.
    WithoutFsopen,
    /// In a container whose filter does not know the call.
    DeniesFsopen,
    /// Before Linux 6.7: `lowerdir+` is no option.
    WithoutLowerdirPlus,
    /// In a container whose filter lets nobody make devices.
    DeniesDevices,
}

impl Kernel {
    pub const CLASSIC: [Kernel; 3] = [
        Kernel::WithoutFsopen,
        Kernel::DeniesFsopen,
        Kernel::WithoutLowerdirPlus,
    ];

    /// Runs the command on such a kernel: the filter of a thread is that of its children.
    pub fn run(self, arguments: impl FnOnce(&mut Command) + Send) -> Output {
        let run = || {
            if let Some(filter) = self.filter() {
                apply_filter(&filter).expect("a seccomp filter");
            }
            let mut command = program::lowerdir();
            arguments(&mut command);
            command.output().expect("the command is there")
        };
        std::thread::scope(|scope| scope.spawn(run).join().expect("the thread ends"))
    }

    fn filter(self) -> Option<BpfProgram> {
        let (call, errno) = match self {
            Kernel::AsItIs => return None,
            Kernel::WithoutFsopen => (FSOPEN, ENOSYS),
            Kernel::DeniesFsopen => (FSOPEN, EPERM),
            Kernel::WithoutLowerdirPlus => (FSCONFIG, EINVAL),
            Kernel::DeniesDevices => (MKNODAT, EPERM),
        };
        let architecture = TargetArch::try_from(std::env::consts::ARCH).expect("it has seccomp");
        let filter = SeccompFilter::new(
            BTreeMap::from([(call, Vec::new())]),
            SeccompAction::Allow,
            SeccompAction::Errno(errno),
            architecture,
        );
        let program = filter.and_then(|filter| filter.try_into());
        Some(program.expect("a filter of one call"))
    }
}
