//! Bars on a terminal: one for each layer being read, and one for all of them. They appear once the work
//! has taken a while, and disappear when it is done.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::Progress;
use crate::layer::report::Report;

use super::echo::NoEcho;
use super::{Expected, compared, done, named};
use crate::cli::console::line;

/// Shorter work shows no bars.
const PATIENCE: Duration = Duration::from_millis(300);
/// On a narrower terminal the bars leave out how many bytes there are.
const NARROW: u16 = 70;
const LAYER: [&str; 2] = [
    "{prefix} [{wide_bar}] {bytes} of {total_bytes}{msg}, {eta}",
    "{prefix} [{wide_bar}] {percent}%",
];
const ALL: [&str; 2] = [
    "{prefix} [{wide_bar}] {bytes} of {total_bytes}, {elapsed}, {eta} left{msg}",
    "{prefix} [{wide_bar}] {percent}% {eta}{msg}",
];
/// Where the sizes are not known.
const COUNT: [&str; 2] = [
    "{prefix} {elapsed}{wide_msg}",
    "{prefix} {elapsed}{wide_msg}",
];

pub struct Bars {
    all: MultiProgress,
    /// The work as a whole: the bytes of all layers, as far as they are known.
    whole: ProgressBar,
    layers: usize,
    sizes: Vec<u64>,
    started: Instant,
    /// Whether each layer leaves a line behind.
    verbose: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_visible: bool,
    no_echo: Option<NoEcho>,
    done: usize,
    bars: BTreeMap<usize, ProgressBar>,
    /// Lines printed before the bars appear, or instead of them.
    lines: Vec<String>,
}

impl Bars {
    pub fn new(expected: &Expected, verbose: bool) -> Bars {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let total = expected.sizes.iter().sum();
        let template = if total > 0 { ALL } else { COUNT };
        let whole = all.add(ProgressBar::new(total).with_style(style(template)));
        let bars = Bars {
            all,
            whole,
            layers: expected.layers,
            sizes: expected.sizes.clone(),
            started: Instant::now(),
            verbose,
            state: Mutex::default(),
        };
        bars.count(0);
        bars
    }

    /// Shows the bars.
    fn show(&self, state: &mut State) {
        if !std::mem::replace(&mut state.is_visible, true) {
            state.no_echo = NoEcho::start();
            self.all.set_draw_target(ProgressDrawTarget::stderr());
            // A bar that never moved is not drawn with the others.
            self.whole.tick();
            for line in std::mem::take(&mut state.lines) {
                drop(self.all.println(line));
            }
        }
    }

    fn tell(&self, line: String) {
        if self.verbose {
            let mut state = self.state.lock().expect("no panic while it is locked");
            match state.is_visible {
                // An error means that the terminal is gone, and its reader too.
                true => drop(self.all.println(line)),
                false => state.lines.push(line),
            }
        }
    }

    fn count(&self, done: usize) {
        if self.layers > 0 {
            self.whole
                .set_prefix(format!("{done}/{} layers", self.layers));
        }
    }

    /// What the work as a whole does, beside reading.
    fn note(&self, text: &str) {
        let text = match text.is_empty() {
            true => String::new(),
            false => format!(" ({text})"),
        };
        self.whole.set_message(text);
        self.whole.tick();
    }

    fn end(&self, layer: usize) {
        let bar = {
            let mut state = self.state.lock().expect("no panic while it is locked");
            state.done += 1;
            self.count(state.done);
            state.bars.remove(&layer)
        };
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        self.whole.tick();
    }
}

/// The first template, or the second on a narrow terminal.
fn style([wide, narrow]: [&str; 2]) -> ProgressStyle {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    let is_narrow = size.is_ok_and(|size| size.ws_col > 0 && size.ws_col < NARROW);
    let template = if is_narrow { narrow } else { wide };
    let style = ProgressStyle::with_template(template).expect("a good template");
    style.progress_chars("=> ")
}

/// `layer 2`: with its digest it would fill the line.
fn short(label: &str) -> String {
    named(label.split(' ').next().unwrap_or_default())
}

impl Progress for Bars {
    fn was_there(&self, layer: usize, label: &str) {
        self.tell(format!("{}: already present", named(label)));
        // It is not read.
        let size = self.sizes.get(layer).copied().unwrap_or(0);
        self.whole
            .set_length(self.whole.length().unwrap_or(0).saturating_sub(size));
        self.end(layer);
    }

    fn waits(&self, _: usize, label: &str) {
        self.show(&mut self.state.lock().expect("no panic while it is locked"));
        self.note(&format!("{} waits for another process", short(label)));
    }

    fn waits_for_store(&self) {
        self.show(&mut self.state.lock().expect("no panic while it is locked"));
        self.note("waiting for another process");
    }

    fn goes_on(&self) {
        self.note("");
    }

    fn begins(&self, layer: usize, label: &str, bytes: u64) {
        let bar = ProgressBar::new(bytes).with_style(style(LAYER));
        let bar = self.all.insert_before(&self.whole, bar);
        bar.set_prefix(short(label));
        let mut state = self.state.lock().expect("no panic while it is locked");
        state.bars.insert(layer, bar);
    }

    fn read(&self, layer: usize, bytes: u64) {
        let mut state = self.state.lock().expect("no panic while it is locked");
        if self.started.elapsed() >= PATIENCE {
            self.show(&mut state);
        }
        if let Some(bar) = state.bars.get(&layer) {
            bar.inc(bytes);
        }
        if !self.sizes.is_empty() {
            self.whole.inc(bytes);
        }
    }

    fn arrived(&self, layer: usize, bytes: u64) {
        let state = self.state.lock().expect("no panic while it is locked");
        if let Some(bar) = state.bars.get(&layer) {
            bar.set_message(format!(" ({} arrived)", HumanBytes(bytes)));
        }
    }

    fn retries(&self, layer: usize, text: &str) {
        let mut state = self.state.lock().expect("no panic while it is locked");
        self.show(&mut state);
        // An error means that the terminal is gone, and its reader too.
        let _ = self.all.println(format!("layer {}: {text}", layer + 1));
    }

    fn ends(&self, layer: usize, label: &str, report: &Report) {
        self.end(layer);
        // For a single layer, the summary says the same.
        if !label.is_empty() {
            self.tell(done(label, report));
        }
    }

    fn copied(&self, layer: usize, label: &str, bytes: u64) {
        self.end(layer);
        self.tell(format!("{}: {} copied", named(label), HumanBytes(bytes)));
    }

    fn verified(&self, layer: usize, label: &str, changes: usize) {
        self.end(layer);
        self.tell(compared(label, changes));
    }

    fn syncs(&self) {
        self.note("writing to disk");
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // An error means that the terminal is gone: there is nothing to clear.
        let _ = self.all.clear();
        let state = self.state.get_mut().expect("no panic while it is locked");
        for text in std::mem::take(&mut state.lines) {
            line(format_args!("{text}"));
        }
    }
}
