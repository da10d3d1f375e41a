//! Bars on a terminal: one for each layer being read, and one for all of them. They appear once the work
//! has taken a while, and disappear when it is done.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::Progress;
use crate::layer::report::Report;

use super::{compared, done, named};
use crate::cli::console::line;

/// Shorter work shows no bars.
const PATIENCE: Duration = Duration::from_millis(300);
const LAYER: &str = "{prefix} [{bar:24}] {bytes}/{total_bytes}, {bytes_per_sec}";
const ALL: &str = "{pos}/{len} layers {msg}";

pub struct Bars {
    all: MultiProgress,
    layers: ProgressBar,
    started: Instant,
    /// Whether each layer leaves a line behind.
    verbose: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_visible: bool,
    bars: BTreeMap<usize, ProgressBar>,
    /// Lines printed before the bars appear, or instead of them.
    lines: Vec<String>,
}

impl Bars {
    pub fn new(layers: usize, verbose: bool) -> Bars {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template(ALL).expect("a good template");
        let layers = all.add(ProgressBar::new(layers as u64).with_style(style));
        Bars {
            all,
            layers,
            started: Instant::now(),
            verbose,
            state: Mutex::default(),
        }
    }

    /// Shows the bars.
    fn show(&self, state: &mut State) {
        if !std::mem::replace(&mut state.is_visible, true) {
            self.all.set_draw_target(ProgressDrawTarget::stderr());
            // A bar that never moved is not drawn with the others.
            self.layers.tick();
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

    fn end(&self, layer: usize) {
        let bar = {
            let mut state = self.state.lock().expect("no panic while it is locked");
            state.bars.remove(&layer)
        };
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        self.layers.inc(1);
        self.layers.set_message("");
    }
}

impl Progress for Bars {
    fn was_there(&self, _: usize, label: &str) {
        self.tell(format!("{}: was there", named(label)));
        self.layers.inc(1);
    }

    fn waits(&self, _: usize, label: &str) {
        self.show(&mut self.state.lock().expect("no panic while it is locked"));
        let text = format!("({}: waiting for another process)", named(label));
        self.layers.set_message(text);
        self.layers.tick();
    }

    fn waits_for_store(&self) {
        self.show(&mut self.state.lock().expect("no panic while it is locked"));
        self.layers.set_message("(waiting for another process)");
        self.layers.tick();
    }

    fn begins(&self, layer: usize, label: &str, bytes: u64) {
        let style = ProgressStyle::with_template(LAYER).expect("a good template");
        let style = style.progress_chars("=> ");
        let bar = ProgressBar::new(bytes).with_style(style);
        let bar = self.all.insert_before(&self.layers, bar);
        bar.set_prefix(named(label));
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
    }

    fn ends(&self, layer: usize, label: &str, report: &Report) {
        self.end(layer);
        // For a single layer, the summary says the same.
        if !label.is_empty() {
            self.tell(done(label, report));
        }
    }

    fn verified(&self, layer: usize, label: &str, changes: usize) {
        self.end(layer);
        self.tell(compared(label, changes));
    }

    fn syncs(&self) {
        self.layers.set_message("(writing to disk)");
        self.layers.tick();
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
