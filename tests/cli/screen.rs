//! What is left on a terminal of some width: enough of one to tell whether bars were cleared.

/// The rows of the screen.
pub fn rows(output: &str, columns: usize) -> Vec<String> {
    let mut screen = Screen {
        rows: vec![Vec::new()],
        row: 0,
        column: 0,
        columns,
    };
    let mut rest = output.chars();
    while let Some(character) = rest.next() {
        match character {
            '\r' => screen.column = 0,
            '\n' => screen.down(1),
            '\x08' => screen.column = screen.column.saturating_sub(1),
            '\x1b' => {
                assert_eq!(rest.next(), Some('['), "only these sequences are used");
                let mut sequence = String::new();
                while !sequence.ends_with(|last: char| last.is_ascii_alphabetic()) {
                    sequence.push(rest.next().expect("a letter ends it"));
                }
                screen.obey(&sequence);
            }
            // Ctrl-C itself, which a terminal does not show.
            '\x03' => {}
            other => screen.put(other),
        }
    }
    screen.rows.iter().map(|row| row.iter().collect()).collect()
}

struct Screen {
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
    columns: usize,
}

impl Screen {
    fn down(&mut self, count: usize) {
        self.row += count;
        while self.rows.len() <= self.row {
            self.rows.push(Vec::new());
        }
    }

    fn put(&mut self, character: char) {
        if self.column == self.columns {
            self.column = 0;
            self.down(1);
        }
        let row = &mut self.rows[self.row];
        while row.len() <= self.column {
            row.push(' ');
        }
        row[self.column] = character;
        self.column += 1;
    }

    fn obey(&mut self, sequence: &str) {
        let letter = sequence.chars().last().expect("a letter");
        let number = sequence[..sequence.len() - 1].parse().unwrap_or(1);
        match letter {
            'A' => self.row = self.row.saturating_sub(number),
            'B' => self.down(number),
            'C' => self.column += number,
            'D' => self.column = self.column.saturating_sub(number),
            'G' => self.column = number - 1,
            'K' if sequence == "2K" => self.rows[self.row].clear(),
            'K' => self.rows[self.row].truncate(self.column),
            'J' => {
                self.rows[self.row].truncate(self.column);
                self.rows.truncate(self.row + 1);
            }
            // Colours and the cursor.
            'm' | 'h' | 'l' => {}
            other => panic!("an unknown sequence: {sequence:?} {other}"),
        }
    }
}
