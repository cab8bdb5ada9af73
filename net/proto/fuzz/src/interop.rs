//! Decodes the public corpus of QPACK, `qpackers/qifs`: what several encoders made of lists of fields, with tables of several
//! sizes, and streams that are none. Each list is encoded by ours as well, with as large a table, and comes back.
//!
//! `cargo run --bin qpack_interop -- DIR`, with the checkout.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use proto::head::Known;
use proto::qpack::{Arena, Decoded, Decoder, Encoder, Outcome, START_BYTES_MAX, Sink, TABLE_BYTES, field_bytes_max};

type Fields = Vec<(String, String)>;

#[derive(Default)]
struct All(Fields);

impl Sink for All {
    fn field(&mut self, arena: &Arena<'_>, field: Decoded) -> bool {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.0.push((text(field.text.of(arena.as_slice())), text(field.value.of(arena.as_slice()))));
        false
    }

    fn overflow(&mut self) {
        self.0.push(("no room".to_owned(), String::new()));
    }
}

fn main() -> ExitCode {
    let root = PathBuf::from(env::args().nth(1).expect("the checkout's folder"));
    let (mut files, mut sections, mut skipped, mut wrong) = (0, 0, 0, 0);
    for encoder in entries(&root.join("encoded/qpack-06")) {
        // The RFC's, which are a test of ours; the list beside them is an earlier draft's.
        if encoder.ends_with("examples") {
            continue;
        }
        for path in entries(&encoder) {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let [list, _, capacity, blocked, _] = *name.split('.').collect::<Vec<_>>() else { continue };
            let expect = lists(&fs::read_to_string(root.join(format!("qifs/{list}.qif"))).expect("a list"));
            let (capacity, blocked) = (capacity.parse().expect("a size"), blocked.parse().expect("a number"));
            let file = fs::read(&path).expect("a file");
            // One is a dump of what it should be.
            if file.first() != Some(&0) {
                skipped += 1;
                continue;
            }
            let found = decode(&file, capacity, blocked);
            files += 1;
            sections += found.as_ref().map_or(0, Vec::len);
            if found.as_ref() != Ok(&expect) {
                wrong += 1;
                println!("{}: {}", path.display(), difference(&found, &expect));
            }
            let again = decode(&encode(&expect, capacity, blocked), capacity, blocked);
            if again.as_ref() != Ok(&expect) {
                wrong += 1;
                println!("{}, encoded by us: {}", path.display(), difference(&again, &expect));
            }
        }
    }
    let (mut refused, mut taken) = (0, Vec::new());
    for path in entries(&root.join("encoded/errors")) {
        match decode(&fs::read(&path).expect("a file"), TABLE_BYTES, 100) {
            Ok(_) => taken.push(path.file_name().expect("a name").to_string_lossy().into_owned()),
            Err(_) => refused += 1,
        }
    }
    // The first and the last entry of what was a shorter table when they were written, which began at one.
    if taken != ["err10", "err9"] {
        wrong += 1;
    }
    println!(
        "{files} files, {sections} sections, {wrong} wrong, {skipped} files skipped; {refused} error files refused, taken {taken:?}"
    );
    if files > 0 && wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = found.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// One a paragraph, a field a line.
fn lists(text: &str) -> Vec<Fields> {
    let mut lists = vec![Fields::new()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.split_once('\t') {
            Some((name, value)) => lists.last_mut().expect("one").push((name.to_owned(), value.to_owned())),
            None => lists.push(Fields::new()),
        }
    }
    lists.retain(|list| !list.is_empty());
    lists
}

fn difference(found: &Result<Vec<Fields>, String>, expect: &[Fields]) -> String {
    match found {
        Err(what) => what.clone(),
        Ok(found) => match found.iter().zip(expect).position(|(one, other)| one != other) {
            Some(place) => format!("section {place} is {:?} and not {:?}", found[place], expect[place]),
            None => format!("{} sections and not {}", found.len(), expect.len()),
        },
    }
}

/// All sections in the order of their streams. A file has pieces, each behind its stream and its length; stream 0 is the
/// encoder's.
fn decode(mut file: &[u8], capacity: usize, blocked: usize) -> Result<Vec<Fields>, String> {
    let mut decoder = Decoder::new(capacity, blocked);
    // Not all of the encoders say that they use the whole of it: it was agreed on, as with all that they do here.
    let (mut allowed, mut instructions) = (Encoder::new(), [0; 8]);
    allowed.allow(capacity as u64, blocked as u64);
    let count = allowed.say(&mut instructions);
    decoder.instruct(&instructions[..count], &mut Arena::new(&mut [])).map_err(|error| error.to_string())?;
    let mut instructions = Vec::new();
    let (mut waiting, mut found) = (BTreeMap::new(), BTreeMap::new());
    while let Some((head, rest)) = file.split_first_chunk::<12>() {
        let stream = u64::from_be_bytes(*head.first_chunk().expect("eight"));
        let length = u32::from_be_bytes(*head.last_chunk().expect("four")) as usize;
        let (piece, rest) = rest.split_at_checked(length).ok_or("the file is cut off")?;
        file = rest;
        if stream == 0 {
            instructions.extend_from_slice(piece);
            let count = decoder
                .instruct(&instructions, &mut Arena::new(&mut [0; TABLE_BYTES]))
                .map_err(|error| error.to_string())?;
            instructions.drain(..count);
        } else {
            take(&mut decoder, stream, piece, &mut waiting, &mut found)?;
        }
        while let Some(stream) = decoder.unblocked() {
            let piece = waiting.remove(&stream).expect("it waits");
            take(&mut decoder, stream, &piece, &mut waiting, &mut found)?;
        }
        decoder.say(&mut [0; 8192]);
    }
    if !instructions.is_empty() || !waiting.is_empty() {
        return Err(format!("{} bytes of instructions and {} sections are left", instructions.len(), waiting.len()));
    }
    Ok(found.into_values().collect())
}

fn take(
    decoder: &mut Decoder,
    stream: u64,
    section: &[u8],
    waiting: &mut BTreeMap<u64, Vec<u8>>,
    found: &mut BTreeMap<u64, Fields>,
) -> Result<(), String> {
    let (mut room, mut all) = ([0; 4 * TABLE_BYTES], All::default());
    match decoder.decode(stream, section, &mut Arena::new(&mut room), &mut all).map_err(|error| error.to_string())? {
        Outcome::Decoded => drop(found.insert(stream, all.0)),
        Outcome::Blocked => drop(waiting.insert(stream, section.to_vec())),
    }
    Ok(())
}

/// A file as the others are, whose sections are acknowledged at once.
fn encode(lists: &[Fields], capacity: usize, blocked: usize) -> Vec<u8> {
    let (mut encoder, mut file) = (Encoder::new(), Vec::new());
    let mut peer = Decoder::new(capacity, blocked);
    encoder.allow(capacity as u64, blocked as u64);
    for (stream, list) in (1..).zip(lists) {
        let bytes = |(name, value): &(String, String)| field_bytes_max(name.as_bytes(), value.as_bytes());
        let mut section = vec![0; START_BYTES_MAX + list.iter().map(bytes).sum::<usize>()];
        let mut count = encoder.begin(stream, &mut section);
        for (name, value) in list {
            let known = Known::of(name.as_bytes());
            count += encoder.field(known, name.as_bytes(), value.as_bytes(), &mut section[count..]);
        }
        let count = encoder.finish(&mut section, count);
        let mut instructions = [0; 4 * TABLE_BYTES];
        let said = encoder.say(&mut instructions);
        let (mut room, mut all) = ([0; 4 * TABLE_BYTES], All::default());
        peer.instruct(&instructions[..said], &mut Arena::new(&mut room)).expect("what we say can be taken");
        peer.decode(stream, &section[..count], &mut Arena::new(&mut room), &mut all).expect("and decoded");
        let mut answer = [0; 64];
        let answered = peer.say(&mut answer);
        assert_eq!(encoder.acknowledge(&answer[..answered]), Ok(answered));
        for (stream, piece) in [(0, &instructions[..said]), (stream, &section[..count])] {
            file.extend_from_slice(&stream.to_be_bytes());
            file.extend_from_slice(&(piece.len() as u32).to_be_bytes());
            file.extend_from_slice(piece);
        }
    }
    file
}
