//! Folders of archives that earlier programs wrote, packed: for each file the length of its name, the name, the length of what follows, and then
//! either 0, a length and bytes, or 1, a place in what came before and a length.

use std::path::Path;

/// Takes that many bytes off the front.
fn take<'a>(rest: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at(len);
    *rest = left;
    taken
}

fn number(rest: &mut &[u8]) -> usize {
    u32::from_be_bytes(take(rest, 4).try_into().unwrap()) as usize
}

/// Lays the folder out there.
pub(crate) fn unpack(mut packed: &[u8], to: &Path) {
    while !packed.is_empty() {
        let name_len = usize::from(take(&mut packed, 1)[0]);
        let name = std::str::from_utf8(take(&mut packed, name_len)).unwrap();
        let len = number(&mut packed);
        let mut rest = take(&mut packed, len);
        let mut file: Vec<u8> = Vec::new();
        while !rest.is_empty() {
            if take(&mut rest, 1)[0] == 0 {
                let len = number(&mut rest);
                file.extend_from_slice(take(&mut rest, len));
            } else {
                let (from, len) = (number(&mut rest), number(&mut rest));
                (from..from + len).for_each(|at| file.push(file[at]));
            }
        }
        let path = to.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, file).unwrap();
    }
    std::fs::create_dir_all(to.join("store/blobs")).unwrap();
}
