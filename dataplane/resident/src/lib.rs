//! Gives back what stays resident of the program's own code though it ran once: what starts the process and reads its
//! configuration. The kernel maps code in pieces of 64 KiB around each page that is used, so most of a program is resident soon.
//!
//! This is the one crate with unsafe code: advice about memory is a raw call.

use std::ffi::c_void;
use std::io;
use std::ptr::{self, NonNull};

use nix::sys::mman::{MmapAdvise, madvise};

/// Unmaps the pages of the program's code. What is used again comes back from the page cache with the next use, without a
/// read of the disk unless memory is short. Gives the bytes of code that there are.
///
/// # Errors
/// The mappings of this process cannot be read, or the kernel refuses.
pub fn release_code() -> io::Result<usize> {
    let program = std::fs::read_link("/proc/self/exe")?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let mut bytes = 0;
    for (start, length) in maps.lines().filter_map(|line| code(line, program.to_str()?)) {
        let Some(address) = NonNull::new(ptr::with_exposed_provenance_mut::<c_void>(start)) else { continue };
        // SAFETY: the range is a private mapping of a file that cannot be written to (`r-xp`) and never could: the program has
        // no relocations in its code. Its pages are equal to the file's, which the kernel keeps from being changed while it
        // runs, so a page that is gone is read again as it was.
        #[allow(unsafe_code)]
        unsafe { madvise(address, length, MmapAdvise::MADV_DONTNEED) }?;
        bytes += length;
    }
    Ok(bytes)
}

/// Start and length of a mapping of the program's code, from a line of `/proc/self/maps`.
fn code(line: &str, program: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_code = fields.next()? == "r-xp";
    // Offset, device, inode; then the path, which may have spaces.
    if !is_code || !line.ends_with(program) || fields.nth(2)? == "0" {
        return None;
    }
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident_code() -> u64 {
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("mappings");
        let program = std::fs::read_link("/proc/self/exe").expect("a program");
        let mut is_code = false;
        let mut kilobytes = 0;
        for line in maps.lines() {
            if line.contains('-') && line.contains("r-xp") {
                is_code = line.ends_with(program.to_str().expect("a path"));
            } else if let Some(rest) = line.strip_prefix("Rss:").filter(|_| is_code) {
                kilobytes += rest.trim().trim_end_matches(" kB").parse::<u64>().expect("a number");
                is_code = false;
            }
        }
        kilobytes
    }

    #[test]
    fn code_is_given_back_and_the_program_goes_on() {
        let before = resident_code();
        let released = release_code().expect("releases");
        assert!(released > 100_000, "{released} bytes of code");
        let after = resident_code();
        assert!(after < before, "{before} KiB before, {after} KiB after");
    }

    #[test]
    fn only_code_of_the_program_is_found() {
        let line = "006cc000-0188f000 r-xp 004cb000 fe:00 9986057                            /bin/agentgateway";
        assert_eq!(code(line, "/bin/agentgateway"), Some((0x6cc000, 0x188f000 - 0x6cc000)));
        assert_eq!(code(line, "/bin/other"), None);
        assert_eq!(code(&line.replace("r-xp", "r--p"), "/bin/agentgateway"), None, "relocated once");
        assert_eq!(code(&line.replace("r-xp", "rw-p"), "/bin/agentgateway"), None);
        assert_eq!(code("7ffd0000-7ffd1000 r-xp 00000000 00:00 0 [vdso]", "[vdso]"), None);
        assert_eq!(code("", "x"), None);
    }
}
