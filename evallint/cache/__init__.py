"""What a run need not do again: a folder of small entries, and event trees and findings as bytes."""
